#include "engine/health.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/engine-internal.h"

#define DEFAULT_INTERVAL_MS       30000
#define DEFAULT_TIMEOUT_MS        30000
#define DEFAULT_START_INTERVAL_MS 5000
#define DEFAULT_RETRIES           3
#define NS_IN_MS                  1000000

#define LOG_ENTRIES  5
#define OUTPUT_MAX   ((size_t)4096)
#define FILE_MAX     ((size_t)1 << 18)
#define NOT_EXECUTED (-1) /* the exit code of a check that could not be made, or took too long */

void health_check_done(struct health_check *h)
{
    strv_free(h->argv);
    memset(h, 0, sizeof(*h));
}

/* --- what is to be done --- */

/* ["CMD", word...], ["CMD-SHELL", line], ["NONE"] or []: nothing. */
static void take_test(struct health_check *h, char *const *test)
{
    static const char *const shell[] = {"/bin/sh", "-c", NULL};
    const char *how = test && test[0] ? test[0] : "NONE";
    bool line = strcmp(how, "CMD-SHELL") == 0;
    if ((!line && strcmp(how, "CMD") != 0) || !test[1])
        return;
    for (size_t i = 0; line && shell[i]; i++)
        strv_add(&h->argv, shell[i]);
    for (size_t i = 1; test[i]; i++)
        strv_add(&h->argv, test[i]);
}

static int take_time(const json_t *o, const char *key, uint64_t *ret_ms, struct error *err)
{
    int64_t ns = 0;
    int r = json_get_i64(o, "Healthcheck of the image", key, &ns, err);
    if (r == 0 && ns < 0)
        return error_invalid(err, "Healthcheck of the image: \"%s\" is negative", key);
    /* What is shorter than a millisecond is not for ever. */
    *ret_ms = ((uint64_t)ns + NS_IN_MS - 1) / NS_IN_MS;
    return r;
}

static int from_image(const struct image *image, struct health_check *h, struct error *err)
{
    static const struct {
        const char *key;
        size_t offset;
    } times[] = {{"Interval", offsetof(struct health_check, interval_ms)},
                 {"Timeout", offsetof(struct health_check, timeout_ms)},
                 {"StartPeriod", offsetof(struct health_check, start_period_ms)},
                 {"StartInterval", offsetof(struct health_check, start_interval_ms)}};
    _cleanup_json_ json_t *config = NULL;
    _cleanup_strv_ char **test = NULL;
    json_t *settings = NULL, *o = NULL;
    int r = 0;
    if (!image->config_json)
        return 0;
    if ((r = json_parse(image->config_json, strlen(image->config_json), "image configuration",
                        &config, err)) < 0 ||
        (r = json_get_object(config, "image configuration", "config", &settings, err)) < 0 ||
        !settings ||
        (r = json_get_object(settings, "image configuration", "Healthcheck", &o, err)) < 0 || !o)
        return r;
    if ((r = json_get_strv(o, "Healthcheck of the image", "Test", &test, err)) < 0 ||
        (r = json_get_u32(o, "Healthcheck of the image", "Retries", &h->retries, err)) < 0)
        return r;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(times); i++)
        r = take_time(o, times[i].key, (uint64_t *)((char *)h + times[i].offset), err);
    take_test(h, test);
    return r;
}

static void override(uint64_t *value, uint64_t given, uint64_t otherwise)
{
    if (given)
        *value = given;
    else if (*value == 0)
        *value = otherwise;
}

int health_check_get(const struct create_options *o, const struct image *image,
                     struct health_check *ret, struct error *err)
{
    _cleanup_(health_check_done) struct health_check h = {0};
    const char *own[] = {"CMD-SHELL", o->health_cmd, NULL};
    uint64_t retries;
    int r = from_image(image, &h, err);
    if (r < 0)
        return r;
    if (o->health_cmd || o->no_healthcheck) {
        strv_free(h.argv);
        h.argv = NULL;
    }
    if (o->health_cmd && strcmp(o->health_cmd, "none") != 0)
        take_test(&h, (char *const *)own);
    retries = h.retries;
    override(&h.interval_ms, o->health_interval_ms, DEFAULT_INTERVAL_MS);
    override(&h.timeout_ms, o->health_timeout_ms, DEFAULT_TIMEOUT_MS);
    override(&h.start_period_ms, o->health_start_period_ms, 0);
    override(&h.start_interval_ms, o->health_start_interval_ms, DEFAULT_START_INTERVAL_MS);
    override(&retries, o->health_retries, DEFAULT_RETRIES);
    h.retries = (uint32_t)retries;
    *ret = h;
    memset(&h, 0, sizeof(h));
    return 0;
}

/* --- what it came to --- */

static json_t *nothing_yet(int64_t started_ns)
{
    return json_pack("{s:I, s:s, s:i, s:[]}", "run", (json_int_t)started_ns, "status", "starting",
                     "failing", 0, "log");
}

json_t *health_load(const char *bundle, int64_t started_ns)
{
    _cleanup_free_ char *path = path_join(bundle, "health"), *text = NULL;
    struct error ignored = ERROR_INIT;
    json_t *o = NULL;
    if (file_read(AT_FDCWD, path, FILE_MAX, &text) == 0 &&
        json_parse(text, strlen(text), "health", &o, &ignored) == 0 &&
        json_integer_value(json_object_get(o, "run")) == started_ns &&
        json_is_string(json_object_get(o, "status")) && json_is_array(json_object_get(o, "log")))
        return o;
    json_decref(o);
    return nothing_yet(started_ns);
}

static const char *next_status(const char *now, const struct health_check *h, bool failed,
                               json_int_t failing, int64_t age_ms)
{
    if (!failed)
        return "healthy";
    if (strcmp(now, "starting") == 0 && age_ms < (int64_t)h->start_period_ms)
        return now;
    return failing >= (json_int_t)h->retries ? "unhealthy" : now;
}

/* A failure in the start period is written down, and does not count. */
static void add_result(json_t *o, const struct health_check *h, json_t *entry, int64_t age_ms)
{
    const char *status = json_string_value(json_object_get(o, "status"));
    json_t *log = json_object_get(o, "log");
    bool failed = json_integer_value(json_object_get(entry, "exit")) != 0;
    bool counts = strcmp(status, "starting") != 0 || age_ms >= (int64_t)h->start_period_ms;
    json_int_t failing = json_integer_value(json_object_get(o, "failing")) + (counts ? 1 : 0);
    status = next_status(status, h, failed, failing, age_ms);
    json_object_set_new(o, "status", json_string(status));
    json_object_set_new(o, "failing", json_integer(failed ? failing : 0));
    json_array_append_new(log, entry);
    while (json_array_size(log) > LOG_ENTRIES)
        json_array_remove(log, 0);
}

/* --- one check --- */

/* The beginning of what it wrote, as text. */
static json_t *output_text(int fd)
{
    char text[OUTPUT_MAX + 1];
    ssize_t n = pread(fd, text, OUTPUT_MAX, 0);
    n = MAX(n, (ssize_t)0);
    text[n] = '\0';
    json_t *json = json_stringn(text, strlen(text));
    for (ssize_t i = 0; !json && i < n; i++) /* cut in the middle of a character, or no text */
        text[i] = (unsigned char)text[i] > 0x7e ? '?' : text[i];
    return json ? json : json_string(text);
}

static int execute(struct subject *s, const struct health_check *h, json_t **ret, struct error *err)
{
    const struct runtime_exec x = {.argv = h->argv, .timeout_ms = (int64_t)h->timeout_ms};
    _cleanup_close_ int out = memfd_create("output", MFD_CLOEXEC);
    _cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int stdio[3] = {null, out, out};
    struct error why = ERROR_INIT;
    int64_t start = time_now_ns();
    int status = 0;
    if (out < 0 || null < 0)
        return error_errno(err, errno, "make a file for the output of a health check");
    int r = subject_ops(s)->exec(&s->target, &x, stdio, &status, &why);
    if (r < 0 && !s->status.alive)
        return error_set(err, ERROR_CONFLICT, ESRCH, "%s", why.msg);
    _cleanup_free_ char *late =
        xasprintf("Health check exceeded timeout (%llu ms)", (unsigned long long)h->timeout_ms);
    json_t *text = r == 0            ? output_text(out)
                   : r == -ETIMEDOUT ? json_string(late)
                                     : json_string(why.msg);
    *ret = json_pack("{s:I, s:I, s:i, s:o}", "start", (json_int_t)start, "end",
                     (json_int_t)time_now_ns(), "exit", r < 0 ? NOT_EXECUTED : status, "output",
                     text ? text : json_string(""));
    return 0;
}

static int check(struct subject *s, const struct health_check *h, bool *ret_failed,
                 struct error *err)
{
    _cleanup_json_ json_t *o = health_load(s->bundle, s->status.started_ns);
    _cleanup_free_ char *path = path_join(s->bundle, "health"), *text = NULL;
    int64_t run = s->status.started_ns, age_ms = (time_now_ns() - run) / NS_IN_MS;
    json_t *entry = NULL;
    int r = execute(s, h, &entry, err);
    if (r < 0)
        return r;
    *ret_failed = json_integer_value(json_object_get(entry, "exit")) != 0;
    add_result(o, h, entry, age_ms);
    /* What ended while it was being checked says nothing of what has begun since. */
    r = subject_status(s, err);
    if (r < 0 || s->status.state != MONITOR_RUNNING || s->status.started_ns != run)
        return r;
    text = json_to_text(o);
    r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

int engine_health(struct engine *e, const char *reference, bool *ret_failed, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    _cleanup_image_ struct image *image = NULL;
    _cleanup_(health_check_done) struct health_check h = {0};
    *ret_failed = false;
    int r = subject_open(e, reference, SUBJECT_UNLOCKED, &s, err);
    if (r == 0)
        r = subject_may(&s, VERB_OBSERVE, err);
    if (r < 0)
        return r;
    if ((r = image_find(e->store, s.record.image_id, &image, err)) < 0 ||
        (r = health_check_get(&s.options, image, &h, err)) < 0)
        return r;
    if (!h.argv)
        return error_set(err, ERROR_CONFLICT, ENOENT, "instance %s has no health check",
                         s.record.name);
    return subject_paused(&s) ? 0 : check(&s, &h, ret_failed, err);
}
