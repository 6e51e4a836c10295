/* Limits and annotations as properties of a unit, in the words of systemd.resource-control(5). */
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/scope/scope.h"

#define ANNOTATION "org.systemd.property."
#define MAX_CPU    8192

static void add_number(char ***properties, const char *name, int64_t value)
{
    if (value == -1)
        strv_addf(properties, "%s=t %llu", name, (unsigned long long)UINT64_MAX);
    else if (value != CGROUP_UNSET)
        strv_addf(properties, "%s=t %lld", name, (long long)value);
}

/* A list as in cpuset(7) as a bit for each number, the lowest first, in hexadecimal digits. */
static void add_set(char ***properties, const char *name, const char *list)
{
    unsigned char bits[MAX_CPU / 8] = {0};
    char hex[sizeof(bits) * 2 + 1];
    size_t used = 0;
    _cleanup_strv_ char **ranges = strv_split(list ? list : "", ',');
    for (size_t i = 0; ranges[i]; i++) {
        char *dash = strchr(ranges[i], '-');
        uint32_t first, last;
        if (dash)
            *dash++ = '\0';
        if (parse_u32(ranges[i], &first) < 0 || parse_u32(dash ? dash : ranges[i], &last) < 0 ||
            first > last || last >= MAX_CPU)
            return; /* the kernel will say what is wrong with it */
        for (uint32_t n = first; n <= last; n++)
            bits[n / 8] |= (unsigned char)(1u << (n % 8));
        used = MAX(used, last / 8 + 1);
    }
    if (used == 0)
        return;
    hex_encode(bits, used, hex);
    strv_addf(properties, "%s=ay %s", name, hex);
}

/* Time in each second, which systemd keeps in whole hundredths. */
static void add_quota(char ***properties, int64_t quota, int64_t period)
{
    if (quota == CGROUP_UNSET && period == CGROUP_UNSET)
        return;
    if (period > 0)
        add_number(properties, "CPUQuotaPeriodUSec", period);
    if (quota == CGROUP_UNSET)
        return;
    if (quota <= 0) {
        add_number(properties, "CPUQuotaPerSecUSec", -1);
        return;
    }
    int64_t each = period > 0 ? period : 100000;
    int64_t second = quota > INT64_MAX / 1000000 ? INT64_MAX / 2 : quota * 1000000 / each;
    add_number(properties, "CPUQuotaPerSecUSec", (second + 9999) / 10000 * 10000);
}

/* The files of cgroup2 that systemd has words for. */
static void add_unified(char ***properties, const struct cgroup_file *f)
{
    static const struct {
        const char *file, *name;
    } rows[] = {
        {"memory.max", "MemoryMax"},          {"memory.high", "MemoryHigh"},
        {"memory.low", "MemoryLow"},          {"memory.min", "MemoryMin"},
        {"memory.swap.max", "MemorySwapMax"}, {"pids.max", "TasksMax"},
        {"cpu.weight", "CPUWeight"},
    };
    long long quota, period;
    uint64_t number;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (strcmp(f->file, rows[i].file) == 0) {
            if (strcmp(f->value, "max") == 0)
                add_number(properties, rows[i].name, -1);
            else if (parse_u64(f->value, INT64_MAX, &number) == 0)
                add_number(properties, rows[i].name, (int64_t)number);
        }
    if (strcmp(f->file, "cpuset.cpus") == 0)
        add_set(properties, "AllowedCPUs", f->value);
    else if (strcmp(f->file, "cpuset.mems") == 0)
        add_set(properties, "AllowedMemoryNodes", f->value);
    else if (strcmp(f->file, "cpu.max") == 0 && sscanf(f->value, "max %lld", &period) == 1)
        add_quota(properties, -1, period);
    else if (strcmp(f->file, "cpu.max") == 0 && sscanf(f->value, "%lld %lld", &quota, &period) == 2)
        add_quota(properties, quota, period);
}

void scope_properties(const struct cgroup_limits *l, char ***properties)
{
    int64_t swap = CGROUP_UNSET;
    if (cgroup_swap_v2(l->memory, l->memory_swap, &swap, NULL) < 0)
        swap = CGROUP_UNSET; /* cgroup_apply refuses it */
    add_number(properties, "MemoryMax", l->memory);
    add_number(properties, "MemorySwapMax", swap);
    add_number(properties, "MemoryLow", l->memory_reservation == -1 ? 0 : l->memory_reservation);
    if (l->cpu_shares > 0)
        add_number(properties, "CPUWeight", cgroup_cpu_weight(l->cpu_shares));
    add_quota(properties, l->cpu_quota, l->cpu_period);
    add_number(properties, "TasksMax", l->pids == 0 ? -1 : l->pids);
    if (l->block_weight > 0)
        add_number(properties, "IOWeight", cgroup_io_weight(l->block_weight));
    add_set(properties, "AllowedCPUs", l->cpuset_cpus);
    add_set(properties, "AllowedMemoryNodes", l->cpuset_mems);
    for (size_t i = 0; i < l->n_unified; i++)
        add_unified(properties, &l->unified[i]);
}

/* Text in quotes; a backslash takes the next character as it is. Gives what follows. */
static const char *quoted(const char *text, struct buf *out)
{
    char quote = *text;
    if (quote != '\'' && quote != '"')
        return NULL;
    for (text++; *text && *text != quote; text++) {
        if (*text == '\\' && text[1])
            text++;
        if (*text == '\n' || buf_add(out, text, 1) < 0)
            return NULL;
    }
    return *text == quote ? text + 1 : NULL;
}

/* "['a', 'b']" as lines. */
static bool string_list(const char *text, struct buf *out)
{
    const char *at = text + 1;
    for (bool first = true; *at; first = false) {
        at += strspn(at, " ");
        if (*at == ']')
            return at[1] == '\0';
        if (!first && buf_add(out, "\n", 1) < 0)
            return false;
        at = quoted(at, out);
        if (!at)
            return false;
        at += strspn(at, " ");
        if (*at == ',')
            at++;
        else if (*at != ']')
            return false;
    }
    return false;
}

/* A number with its type before it: *ret_signature 0 when it is none. */
static int64_t typed_number(const char *text, char *ret_signature)
{
    static const struct {
        const char *word;
        char signature;
    } types[] = {{"uint64 ", 't'}, {"int64 ", 'x'}, {"uint32 ", 'u'}, {"int32 ", 'i'}, {"", 'i'}};
    size_t i = 0;
    while (strncmp(text, types[i].word, strlen(types[i].word)) != 0)
        i++;
    const char *digits = text + strlen(types[i].word);
    uint64_t value;
    bool negative = *digits == '-' && (types[i].signature == 'i' || types[i].signature == 'x');
    uint64_t max = types[i].signature == 'u'   ? UINT32_MAX
                   : types[i].signature == 'i' ? INT32_MAX
                                               : INT64_MAX;
    *ret_signature = parse_u64(digits + negative, max, &value) == 0 ? types[i].signature : '\0';
    return *ret_signature == '\0' ? 0 : negative ? -(int64_t)value : (int64_t)value;
}

static bool is_name(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len < 128 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == len;
}

/* TimeoutStopSec is TimeoutStopUSec on the bus, in microseconds. */
static bool add_seconds(const char *name, int64_t value, char ***properties)
{
    size_t len = strlen(name);
    if (len < 4 || strcmp(name + len - 3, "Sec") != 0 || name[len - 4] == 'U' || value < 0 ||
        value > INT64_MAX / 1000000)
        return false;
    strv_addf(properties, "%.*sUSec=t %lld", (int)len - 3, name, (long long)value * 1000000);
    return true;
}

int scope_annotation(const char *key, const char *value, char ***properties, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(65536);
    char signature;
    if (strncmp(key, ANNOTATION, strlen(ANNOTATION)) != 0)
        return 0;
    const char *name = key + strlen(ANNOTATION);
    int64_t number = typed_number(value, &signature);
    if (!is_name(name))
        return error_invalid(err, "annotation %s names no property", key);
    if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0) {
        strv_addf(properties, "%s=b %s", name, value);
    } else if (signature) {
        if (!add_seconds(name, number, properties))
            strv_addf(properties, "%s=%c %lld", name, signature, (long long)number);
    } else if (value[0] == '[' && string_list(value, &text)) {
        strv_addf(properties, "%s=as %s", name, text.data ? text.data : "");
    } else {
        const char *end = quoted(value, &text);
        if (!end || *end)
            return error_invalid(err, "annotation %s: cannot understand the value \"%.64s\"", key,
                                 value);
        strv_addf(properties, "%s=s %s", name, text.data ? text.data : "");
    }
    return 0;
}
