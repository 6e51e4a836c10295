/*
 * proa-scope: asks systemd for transient scopes (scope.h says why it is a program of its own).
 *
 *   proa-scope start --system|--user UNIT PID [PROPERTY...]   prints the control group's path
 *   proa-scope set   --system|--user UNIT [PROPERTY...]
 *   proa-scope attach --system|--user UNIT PID
 *   proa-scope stop  --system|--user UNIT
 *
 * PROPERTY is "NAME=SIGNATURE VALUE"; SIGNATURE is b, s, t, x, u, i, as (a line each) or ay
 * (hexadecimal). Properties that every scope has are in the table below.
 */
#include <string.h>
#include <systemd/sd-bus.h>

#include "base/strv.h"
#include "base/text.h"

#define SERVICE   "org.freedesktop.systemd1"
#define OBJECT    "/org/freedesktop/systemd1"
#define MANAGER   SERVICE ".Manager"
#define PRIVATE   "unix:path=/run/systemd/private"
#define WAIT_US   ((uint64_t)30 * 1000 * 1000)
#define MAX_BYTES 4096

DEFINE_CLEANUP(sd_bus *, sd_bus_flush_close_unref)
DEFINE_CLEANUP(sd_bus_message *, sd_bus_message_unref)
#define _cleanup_bus_     _cleanup_(sd_bus_flush_close_unref_cleanup)
#define _cleanup_message_ _cleanup_(sd_bus_message_unref_cleanup)

/* The end of a job: which one, and how. */
struct job {
    const char *path;
    char result[32];
};

static int complain(const char *verb, const char *unit, int r, const sd_bus_error *e)
{
    char text[80];
    fprintf(stderr, "%s %s: %s\n", verb, unit,
            e && e->message ? e->message : error_text(-r, text, sizeof(text)));
    return 1;
}

/* The manager's own socket needs no D-Bus daemon; it takes root only. */
static int open_bus(bool user, sd_bus **ret)
{
    sd_bus *bus = NULL;
    if (user)
        return sd_bus_open_user(ret);
    int r = sd_bus_new(&bus);
    if (r >= 0)
        r = sd_bus_set_address(bus, PRIVATE);
    if (r >= 0)
        r = sd_bus_start(bus);
    if (r >= 0) {
        *ret = bus;
        return 0;
    }
    sd_bus_unref(bus);
    return sd_bus_open_system(ret);
}

static int append_bytes(sd_bus_message *m, const char *hex)
{
    unsigned char bytes[MAX_BYTES];
    size_t n = strlen(hex) / 2;
    if (n > sizeof(bytes) || !is_hex(hex, n * 2))
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        const char digits[] = {hex[2 * i], hex[2 * i + 1], '\0'};
        bytes[i] = (unsigned char)strtoul(digits, NULL, 16);
    }
    return sd_bus_message_append_array(m, 'y', bytes, n);
}

static int append_value(sd_bus_message *m, const char *signature, const char *value)
{
    if (strcmp(signature, "ay") == 0)
        return append_bytes(m, value);
    if (strcmp(signature, "as") == 0) {
        _cleanup_strv_ char **lines = strv_split(value, '\n');
        return sd_bus_message_append_strv(m, lines);
    }
    switch (signature[0]) {
    case 's':
        return sd_bus_message_append(m, "s", value);
    case 'b':
        return sd_bus_message_append(m, "b", strcmp(value, "true") == 0);
    case 't':
        return sd_bus_message_append(m, "t", (uint64_t)strtoull(value, NULL, 10));
    case 'x':
        return sd_bus_message_append(m, "x", (int64_t)strtoll(value, NULL, 10));
    case 'u':
        return sd_bus_message_append(m, "u", (uint32_t)strtoul(value, NULL, 10));
    case 'i':
        return sd_bus_message_append(m, "i", (int32_t)strtol(value, NULL, 10));
    default:
        return -EINVAL;
    }
}

/* "NAME=SIGNATURE VALUE" */
static int append_property(sd_bus_message *m, const char *text)
{
    char name[128], signature[4];
    int used = 0;
    if (sscanf(text, "%127[A-Za-z0-9]=%3[a-z] %n", name, signature, &used) < 2)
        return -EINVAL;
    const char *value = strchr(text, ' ');
    if (!value)
        return -EINVAL;
    int r = sd_bus_message_open_container(m, 'r', "sv");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", name);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', signature);
    if (r >= 0)
        r = append_value(m, signature, value + 1);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_all(sd_bus_message *m, const char *const *texts)
{
    int r = 0;
    for (size_t i = 0; texts[i] && r >= 0; i++)
        r = append_property(m, texts[i]);
    return r;
}

static int on_removed(sd_bus_message *m, void *context, sd_bus_error *e)
{
    struct job *job = context;
    const char *path, *unit, *result;
    uint32_t id;
    (void)e;
    if (sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) >= 0 && job->path &&
        strcmp(path, job->path) == 0)
        snprintf(job->result, sizeof(job->result), "%s", result);
    return 0;
}

/* Calls, and waits until the job that the call made has ended. The signal may come before the
 * answer: it is looked at only by sd_bus_process, which is called after the answer is there. */
static int call_job(sd_bus *bus, sd_bus_message *m, struct job *job, sd_bus_error *e)
{
    _cleanup_message_ sd_bus_message *reply = NULL;
    int r = sd_bus_match_signal(bus, NULL, NULL, OBJECT, MANAGER, "JobRemoved", on_removed, job);
    if (r >= 0)
        r = sd_bus_call(bus, m, WAIT_US, e, &reply);
    if (r >= 0)
        r = sd_bus_message_read(reply, "o", &job->path);
    int64_t end = time_monotonic_ms() + (int64_t)(WAIT_US / 1000);
    while (r >= 0 && !job->result[0] && time_monotonic_ms() < end) {
        r = sd_bus_process(bus, NULL);
        if (r == 0)
            r = sd_bus_wait(bus, 1000 * 1000);
    }
    if (r < 0)
        return r;
    if (strcmp(job->result, "done") == 0)
        return 0;
    return sd_bus_error_setf(e, SD_BUS_ERROR_FAILED, "the job ended with \"%s\"",
                             job->result[0] ? job->result : "no answer");
}

static int new_call(sd_bus *bus, const char *member, sd_bus_message **ret)
{
    return sd_bus_message_new_method_call(bus, ret, SERVICE, OBJECT, MANAGER, member);
}

static int start_once(sd_bus *bus, const char *unit, uint32_t pid, const char *const *texts,
                      sd_bus_error *e)
{
    static const char *const always[] = {
        "Delegate=b true",
        "DefaultDependencies=b false",
        "MemoryAccounting=b true",
        "CPUAccounting=b true",
        "IOAccounting=b true",
        "TasksAccounting=b true",
        "CollectMode=s inactive-or-failed",
        NULL,
    };
    _cleanup_message_ sd_bus_message *m = NULL;
    struct job job = {NULL, ""};
    int r = new_call(bus, "StartTransientUnit", &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "ss", unit, "replace");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "(sv)");
    if (r >= 0)
        r = sd_bus_message_append(m, "(sv)", "PIDs", "au", 1, pid);
    if (r >= 0)
        r = append_all(m, always);
    if (r >= 0)
        r = append_all(m, texts);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    if (r >= 0)
        r = sd_bus_message_append(m, "a(sa(sv))", 0);
    return r < 0 ? r : call_job(bus, m, &job, e);
}

/* A unit of that name that has failed stays until it is forgotten. */
static int start(sd_bus *bus, const char *unit, const char *const *args, sd_bus_error *e)
{
    uint32_t pid;
    if (!args[0] || parse_u32(args[0], &pid) < 0)
        return -EINVAL;
    int r = start_once(bus, unit, pid, args + 1, e);
    if (r >= 0 || !sd_bus_error_has_name(e, SERVICE ".UnitExists"))
        return r;
    sd_bus_error again = SD_BUS_ERROR_NULL;
    if (sd_bus_call_method(bus, SERVICE, OBJECT, MANAGER, "ResetFailedUnit", &again, NULL, "s",
                           unit) >= 0) {
        sd_bus_error_free(e);
        r = start_once(bus, unit, pid, args + 1, e);
    }
    sd_bus_error_free(&again);
    return r;
}

static int print_group(sd_bus *bus, const char *unit, sd_bus_error *e)
{
    _cleanup_free_ char *object = NULL, *group = NULL;
    int r = sd_bus_path_encode(OBJECT "/unit", unit, &object);
    if (r >= 0)
        r = sd_bus_get_property_string(bus, SERVICE, object, SERVICE ".Scope", "ControlGroup", e,
                                       &group);
    if (r >= 0)
        printf("%s\n", group);
    return r;
}

static int run_start(sd_bus *bus, const char *unit, const char *const *args, sd_bus_error *e)
{
    int r = start(bus, unit, args, e);
    return r < 0 ? r : print_group(bus, unit, e);
}

static int run_set(sd_bus *bus, const char *unit, const char *const *args, sd_bus_error *e)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    int r = new_call(bus, "SetUnitProperties", &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "sb", unit, 1);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "(sv)");
    if (r >= 0)
        r = append_all(m, args);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r < 0 ? r : sd_bus_call(bus, m, WAIT_US, e, NULL);
}

/* Where the kernel lets an ordinary user move a process only within what is his own, systemd may.
 */
static int run_attach(sd_bus *bus, const char *unit, const char *const *args, sd_bus_error *e)
{
    uint32_t pid;
    if (!args[0] || parse_u32(args[0], &pid) < 0)
        return -EINVAL;
    return sd_bus_call_method(bus, SERVICE, OBJECT, MANAGER, "AttachProcessesToUnit", e, NULL,
                              "ssau", unit, "", 1, pid);
}

static int run_stop(sd_bus *bus, const char *unit, const char *const *args, sd_bus_error *e)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    struct job job = {NULL, ""};
    (void)args;
    int r = new_call(bus, "StopUnit", &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "ss", unit, "replace");
    if (r >= 0)
        r = call_job(bus, m, &job, e);
    return r < 0 && sd_bus_error_has_name(e, SERVICE ".NoSuchUnit") ? 0 : r;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(sd_bus *bus, const char *unit, const char *const *args, sd_bus_error *e);
    } verbs[] = {
        {"start", run_start}, {"set", run_set}, {"attach", run_attach}, {"stop", run_stop}};
    _cleanup_bus_ sd_bus *bus = NULL;
    sd_bus_error e = SD_BUS_ERROR_NULL;
    size_t v = 0;
    while (argc >= 4 && v < ARRAY_SIZE(verbs) && strcmp(argv[1], verbs[v].name) != 0)
        v++;
    if (argc < 4 || v == ARRAY_SIZE(verbs)) {
        fprintf(stderr, "usage: proa-scope start|set|stop --system|--user UNIT [ARGUMENT...]\n");
        return 2;
    }
    int r = open_bus(strcmp(argv[2], "--user") == 0, &bus);
    if (r < 0)
        return complain("reach", "the manager", r, NULL);
    r = verbs[v].run(bus, argv[3], (const char *const *)argv + 4, &e);
    if (r < 0)
        complain(argv[1], argv[3], r, &e);
    sd_bus_error_free(&e);
    return r < 0 ? 1 : 0;
}
