#include "base/text.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

int parse_u64(const char *s, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;
    if (!*s)
        return -EINVAL;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return -EINVAL;
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value) || value > max)
            return -ERANGE;
    }
    *ret = value;
    return 0;
}

uint64_t text_number_after(const char *text, const char *key)
{
    size_t len = strlen(key);
    for (const char *line = text; line && *line; line += *line == '\n') {
        if (strncmp(line, key, len) == 0)
            return strtoull(line + len, NULL, 10);
        line = strchrnul(line, '\n');
    }
    return 0;
}

int parse_u32(const char *s, uint32_t *ret)
{
    uint64_t value;
    int r = parse_u64(s, UINT32_MAX, &value);
    if (r == 0)
        *ret = (uint32_t)value;
    return r;
}

/* Splits "12.345unit" into thousandths and the unit. */
static int parse_quantity(const char *s, uint64_t *ret_thousandths, const char **ret_unit)
{
    char digits[24];
    size_t n = strspn(s, "0123456789");
    uint64_t whole, fraction = 0, scale = 100;
    if (n == 0 || n >= sizeof(digits))
        return -EINVAL;
    memcpy(digits, s, n);
    digits[n] = '\0';
    int r = parse_u64(digits, UINT64_MAX / 1000 - 1, &whole);
    if (r < 0)
        return r;
    s += n;
    if (*s == '.') {
        for (s++; *s >= '0' && *s <= '9'; s++) {
            if (scale == 0)
                return -EINVAL;
            fraction += (uint64_t)(*s - '0') * scale;
            scale /= 10;
        }
        if (scale == 100)
            return -EINVAL;
    }
    *ret_thousandths = whole * 1000 + fraction;
    *ret_unit = s;
    return 0;
}

int parse_size(const char *s, uint64_t *ret_bytes)
{
    static const char units[] = "bkmgtp";
    uint64_t thousandths, bytes;
    const char *unit;
    int r = parse_quantity(s, &thousandths, &unit);
    if (r < 0)
        return r;
    unsigned int shift = 0;
    if (*unit) {
        const char *found = strchr(units, tolower((unsigned char)*unit));
        if (!found)
            return -EINVAL;
        shift = (unsigned int)(found - units) * 10;
        unit++;
        if (shift > 0 && strcasecmp(unit, "ib") != 0 && strcasecmp(unit, "b") != 0 && *unit)
            return -EINVAL;
        if (shift == 0 && *unit)
            return -EINVAL;
    }
    if (__builtin_mul_overflow(thousandths, (uint64_t)1 << shift, &bytes))
        return -ERANGE;
    *ret_bytes = bytes / 1000;
    return 0;
}

int parse_milli(const char *s, uint64_t *ret_thousandths)
{
    const char *unit;
    uint64_t value;
    int r = parse_quantity(s, &value, &unit);
    if (r < 0 || *unit)
        return r < 0 ? r : -EINVAL;
    *ret_thousandths = value;
    return 0;
}

int parse_duration(const char *s, uint64_t *ret_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    uint64_t total = 0, value;
    const char *unit;
    do {
        int r = parse_quantity(s, &value, &unit);
        if (r < 0)
            return r;
        size_t len = strcspn(unit, "0123456789"), i;
        if (len == 0) {
            if (total || *unit)
                return -EINVAL;
            *ret_ms = value; /* thousandths of a second */
            return 0;
        }
        for (i = 0; i < ARRAY_SIZE(units); i++)
            if (strlen(units[i].unit) == len && strncmp(unit, units[i].unit, len) == 0)
                break;
        uint64_t part;
        if (i == ARRAY_SIZE(units))
            return -EINVAL;
        if (__builtin_mul_overflow(value, units[i].ms, &part) ||
            __builtin_add_overflow(total, part / 1000, &total))
            return -ERANGE;
        s = unit + len;
    } while (*s);
    *ret_ms = total;
    return 0;
}

static struct text32 format_scaled(uint64_t bytes, uint64_t base, const char *const units[])
{
    struct text32 t;
    uint64_t scale = 1;
    size_t i = 0;
    while (bytes / scale >= base && i < 5) {
        scale *= base;
        i++;
    }
    double value = (double)bytes / (double)scale;
    snprintf(t.s, sizeof(t.s),
             i == 0       ? "%.0f%s"
             : value < 10 ? "%.2f%s"
                          : "%.1f%s",
             value, units[i]);
    return t;
}

struct text32 format_size(uint64_t bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    return format_scaled(bytes, 1000, units);
}

struct text32 format_size_binary(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    return format_scaled(bytes, 1024, units);
}

struct text32 format_age(int64_t seconds)
{
    static const struct {
        int64_t below, per;
        const char *text;
    } steps[] = {
        {1, 0, "Less than a second"},
        {2, 0, "1 second"},
        {60, 1, "%lld seconds"},
        {120, 0, "About a minute"},
        {3600, 60, "%lld minutes"},
        {7200, 0, "About an hour"},
        {172800, 3600, "%lld hours"},
        {1209600, 86400, "%lld days"},
        {5184000, 604800, "%lld weeks"},
        {63072000, 2592000, "%lld months"},
        {INT64_MAX, 31536000, "%lld years"},
    };
    struct text32 t;
    size_t i = 0;
    while (i + 1 < ARRAY_SIZE(steps) && seconds >= steps[i].below)
        i++;
    if (steps[i].per == 0) {
        snprintf(t.s, sizeof(t.s), "%s", steps[i].text);
        return t;
    }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(t.s, sizeof(t.s), steps[i].text, (long long)(seconds / steps[i].per));
#pragma GCC diagnostic pop
    return t;
}

int64_t time_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t time_monotonic_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

struct text64 time_format(int64_t ns)
{
    struct text64 t;
    struct tm tm;
    time_t seconds = (time_t)(ns / 1000000000);
    gmtime_r(&seconds, &tm);
    snprintf(t.s, sizeof(t.s), "%04d-%02d-%02dT%02d:%02d:%02d.%09dZ", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ns % 1000000000));
    return t;
}

/* What nanoseconds of 64 bits can count, less a few days for an offset from UTC. */
#define MAX_SECONDS (INT64_MAX / 1000000000 - 500000)

/* The part of an RFC 3339 time after the seconds: fraction, then Z or an offset. */
static int parse_time_tail(const char *s, int64_t *ns)
{
    if (*s == '.') {
        int64_t scale = 100000000;
        for (s++; *s >= '0' && *s <= '9'; s++, scale /= 10)
            *ns += (*s - '0') * scale;
    }
    if (strcmp(s, "Z") == 0 || *s == '\0')
        return 0;
    int hours, minutes, used = 0;
    if ((*s != '+' && *s != '-') || sscanf(s + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2 ||
        s[1 + used])
        return -EINVAL;
    int64_t offset = ((int64_t)hours * 3600 + minutes * 60) * 1000000000;
    *ns += *s == '+' ? -offset : offset;
    return 0;
}

int time_parse(const char *s, int64_t *ret_ns)
{
    struct tm tm = {0};
    uint64_t value;
    const char *end = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!end)
        end = strptime(s, "%Y-%m-%d", &tm);
    if (end) {
        int64_t seconds = timegm(&tm);
        if (seconds < -MAX_SECONDS || seconds > MAX_SECONDS)
            return -ERANGE;
        int64_t ns = seconds * 1000000000;
        int r = parse_time_tail(end, &ns);
        if (r == 0)
            *ret_ns = ns;
        return r;
    }
    if (parse_u64(s, INT64_MAX / 1000000000, &value) == 0) {
        *ret_ns = (int64_t)value * 1000000000;
        return 0;
    }
    int r = parse_duration(s, &value);
    if (r == 0 && value > INT64_MAX / 2000000)
        r = -ERANGE;
    if (r == 0)
        *ret_ns = time_now_ns() - (int64_t)value * 1000000;
    return r;
}

uint64_t fingerprint(const void *data, size_t len)
{
    const unsigned char *bytes = data;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ bytes[i]) * 0x100000001b3u;
    return h;
}

void hex_encode(const unsigned char *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[data[i] >> 4];
        out[2 * i + 1] = digits[data[i] & 15];
    }
    out[2 * len] = '\0';
}

void random_hex(char *out, size_t bytes)
{
    unsigned char raw[64];
    if (bytes > sizeof(raw))
        bytes = sizeof(raw);
    for (size_t done = 0; done < bytes;) {
        ssize_t n = getrandom(raw + done, bytes - done, 0);
        if (n > 0)
            done += (size_t)n;
    }
    hex_encode(raw, bytes, out);
}

bool is_hex(const char *s, size_t len)
{
    return strspn(s, "0123456789abcdef") == len && s[len] == '\0';
}
