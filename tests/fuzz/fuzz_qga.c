/* What a guest's agent sends: lines, and every getter on each of them. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "wire/qga/qga.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void get_everything(const struct qga_answer *a)
{
    static int (*const shows[])(const struct qga_answer *, json_t **, struct error *) = {
        qga_get_interfaces, qga_get_system, qga_get_users};
    struct error err = ERROR_INIT;
    struct qga_data d;
    struct qga_status s;
    struct qga_traffic t;
    char version[32];
    int64_t number;
    size_t count;
    uint32_t all, online;
    json_t *o;
    for (size_t i = 0; i < ARRAY_SIZE(shows); i++)
        if (shows[i](a, &o, &err) == 0)
            json_decref(o);
    if (qga_get_data(a, 64, &d, &err) == 0)
        free(d.bytes);
    if (qga_get_status(a, &s, &err) == 0)
        qga_status_done(&s);
    if (qga_get_info(a, version, sizeof(version), &err) == 0)
        (void)qga_has_command(a, "guest-exec");
    (void)!qga_get_number(a, &number, &err);
    (void)!qga_get_pid(a, &number, &err);
    (void)!qga_get_count(a, 64, &count, &err);
    (void)!qga_get_traffic(a, &t, &err);
    (void)!qga_get_online(a, &all, &online, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    const char *at = (const char *)data, *line;
    size_t len, used;
    bool delimited;
    while (qga_line(at, size, &line, &len, &delimited, &used, &err) == 0 && used > 0) {
        struct qga_answer a;
        if (qga_parse(line, len, &a, &err) == 0) {
            if (a.value)
                get_everything(&a);
            qga_answer_done(&a);
        }
        at += used;
        size -= used;
    }
    return 0;
}
