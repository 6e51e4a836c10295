/* What a guest says of itself, as JSON of our own: only known members, of known types and sizes. */
#include "wire/qga/qga.h"

#include <string.h>

#include "base/json.h"
#include "wire/qga/text.h"

#define WORD_MAX 128

static int need_array(const struct qga_answer *a, struct error *err)
{
    return json_is_array(a->value)
               ? 0
               : error_set(err, ERROR_CORRUPT, EPROTO, "the guest agent's answer has no list");
}

static size_t items(const json_t *array)
{
    return MIN(json_array_size(array), (size_t)QGA_ITEMS_MAX);
}

/* C1 control characters (U+0080 to U+009F), which some terminals obey, go as well. */
static json_t *word(const char *s)
{
    char text[WORD_MAX];
    qga_text(text, sizeof(text), s);
    for (unsigned char *p = (unsigned char *)text; *p; p++)
        if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
            p[0] = p[1] = '?';
    return json_string(text);
}

static void put(json_t *to, const char *as, const json_t *from, const char *key)
{
    const char *s = json_string_value(json_object_get(from, key));
    if (s)
        json_object_set_new(to, as, word(s));
}

static bool is_loopback(const json_t *interface)
{
    const char *name = json_string_value(json_object_get(interface, "name"));
    return !name || strcmp(name, "lo") == 0;
}

static json_t *addresses(const json_t *interface)
{
    json_t *list = json_array(), *from = json_object_get(interface, "ip-addresses");
    for (size_t i = 0; i < items(from); i++) {
        json_t *o = json_array_get(from, i), *prefix = json_object_get(o, "prefix");
        const char *address = json_string_value(json_object_get(o, "ip-address"));
        char text[WORD_MAX];
        json_int_t bits = json_integer_value(prefix);
        if (!address || !json_is_integer(prefix) || bits < 0 || bits > 128)
            continue;
        snprintf(text, sizeof(text), "%.64s/%d", address, (int)bits);
        json_array_append_new(list, word(text));
    }
    return list;
}

int qga_get_interfaces(const struct qga_answer *a, json_t **ret, struct error *err)
{
    int r = need_array(a, err);
    if (r < 0)
        return r;
    json_t *list = json_array();
    for (size_t i = 0; i < items(a->value); i++) {
        json_t *from = json_array_get(a->value, i), *o;
        if (is_loopback(from))
            continue;
        o = json_object();
        put(o, "name", from, "name");
        put(o, "mac", from, "hardware-address");
        json_object_set_new(o, "addresses", addresses(from));
        json_array_append_new(list, o);
    }
    *ret = list;
    return 0;
}

int qga_get_traffic(const struct qga_answer *a, struct qga_traffic *ret, struct error *err)
{
    int r = need_array(a, err);
    if (r < 0)
        return r;
    struct qga_traffic t = {0};
    for (size_t i = 0; i < items(a->value); i++) {
        json_t *from = json_array_get(a->value, i), *s = json_object_get(from, "statistics");
        json_int_t rx = json_integer_value(json_object_get(s, "rx-bytes")),
                   tx = json_integer_value(json_object_get(s, "tx-bytes"));
        if (is_loopback(from) || rx < 0 || tx < 0)
            continue;
        t.rx_bytes += (uint64_t)rx;
        t.tx_bytes += (uint64_t)tx;
    }
    *ret = t;
    return 0;
}

int qga_get_system(const struct qga_answer *a, json_t **ret, struct error *err)
{
    static const char *const members[][2] = {{"name", "pretty-name"},
                                             {"id", "id"},
                                             {"version", "version-id"},
                                             {"kernel", "kernel-release"},
                                             {"machine", "machine"}};
    if (!json_is_object(a->value))
        return error_set(err, ERROR_CORRUPT, EPROTO, "the guest agent's answer has no system");
    json_t *o = json_object();
    for (size_t i = 0; i < ARRAY_SIZE(members); i++)
        put(o, members[i][0], a->value, members[i][1]);
    *ret = o;
    return 0;
}

int qga_get_users(const struct qga_answer *a, json_t **ret, struct error *err)
{
    int r = need_array(a, err);
    if (r < 0)
        return r;
    json_t *list = json_array();
    for (size_t i = 0; i < items(a->value); i++) {
        const char *s = json_string_value(json_object_get(json_array_get(a->value, i), "user"));
        if (s)
            json_array_append_new(list, word(s));
    }
    *ret = list;
    return 0;
}

int qga_get_info(const struct qga_answer *a, char *version, size_t size, struct error *err)
{
    const char *s = json_string_value(json_object_get(a->value, "version"));
    if (!s || !json_is_array(json_object_get(a->value, "supported_commands")))
        return error_set(err, ERROR_CORRUPT, EPROTO, "the guest agent does not say what it can do");
    qga_text(version, size, s);
    return 0;
}

bool qga_has_command(const struct qga_answer *info, const char *command)
{
    json_t *list = json_object_get(info->value, "supported_commands");
    for (size_t i = 0; i < items(list); i++) {
        json_t *o = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(o, "name"));
        if (name && strcmp(name, command) == 0)
            return !json_is_false(json_object_get(o, "enabled"));
    }
    return false;
}

int qga_get_online(const struct qga_answer *a, uint32_t *ret_all, uint32_t *ret_online,
                   struct error *err)
{
    int r = need_array(a, err);
    if (r < 0)
        return r;
    uint32_t all = 0, online = 0;
    for (size_t i = 0; i < items(a->value); i++) {
        all++;
        online += json_is_true(json_object_get(json_array_get(a->value, i), "online"));
    }
    *ret_all = all;
    *ret_online = online;
    return 0;
}
