#include "runtime/monitor/log_write.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fd.h"

static int open_log(struct log_writer *w)
{
    struct stat st;
    w->fd = openat(w->dir_fd, "log", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (w->fd < 0)
        return -errno;
    if (fstat(w->fd, &st) < 0)
        return -errno;
    w->good = w->disk = st.st_size;
    w->out_len = w->line_end = 0;
    return 0;
}

int log_writer_open(struct log_writer *w, int dir_fd, uint64_t max_bytes, uint32_t files,
                    struct error *err)
{
    char last;
    w->dir_fd = dir_fd;
    w->max_bytes = max_bytes;
    w->files = files;
    w->dropped = 0;
    w->skipping = false;
    w->held[0] = w->held[1] = 0;
    w->time_second = -1;
    int r = open_log(w);
    if (r < 0)
        return error_errno(err, r, "open the log");
    /* A writer that was killed may have left half a line: end it, so that ours begins a new one. */
    if (w->disk > 0 && pread(w->fd, &last, 1, w->disk - 1) == 1 && last != '\n' &&
        fd_write_all(w->fd, "\n", 1) == 0)
        w->good = ++w->disk;
    return 0;
}

/* --- bytes to the file --- */

static void lose(struct log_writer *w)
{
    for (size_t i = 0; i < w->line_end; i++)
        w->dropped += w->out[i] == '\n';
    if (ftruncate(w->fd, w->good) == 0)
        w->disk = w->good;
    w->skipping = w->line_end < w->out_len || w->out_len == sizeof(w->out);
    w->out_len = w->line_end = 0;
}

static void flush(struct log_writer *w)
{
    if (w->out_len == 0)
        return;
    if (w->fd < 0 || fd_write_all(w->fd, w->out, w->out_len) < 0) {
        lose(w);
        return;
    }
    if (w->line_end > 0)
        w->good = w->disk + (off_t)w->line_end;
    w->disk += (off_t)w->out_len;
    w->out_len = w->line_end = 0;
}

static void put(struct log_writer *w, const char *data, size_t len)
{
    while (len > 0 && !w->skipping) {
        size_t n = MIN(len, sizeof(w->out) - w->out_len);
        memcpy(w->out + w->out_len, data, n);
        w->out_len += n;
        data += n;
        len -= n;
        if (w->out_len == sizeof(w->out))
            flush(w);
    }
}

static void put_text(struct log_writer *w, const char *s)
{
    put(w, s, strlen(s));
}

static void rotate(struct log_writer *w)
{
    char from[16], to[16];
    flush(w);
    if (w->fd < 0) { /* it could not be opened the last time */
        (void)!open_log(w);
        return;
    }
    w->fd = close_fd(w->fd);
    for (uint32_t i = w->files; i-- > 1;) {
        snprintf(from, sizeof(from), i > 1 ? "log.%u" : "log", i - 1);
        snprintf(to, sizeof(to), "log.%u", i);
        renameat(w->dir_fd, from, w->dir_fd, to);
    }
    if (w->files < 2)
        unlinkat(w->dir_fd, "log", 0);
    (void)!open_log(w);
}

/* --- one line --- */

/* The length of the valid UTF-8 sequence at p, 0 when there is none. */
static size_t utf8_length(const unsigned char *p, size_t left)
{
    size_t n = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0; /* overlong, surrogates, past the last code point */
    return n;
}

static void put_escaped(struct log_writer *w, const char *data, size_t len)
{
    static const char shorts[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
                                  ['\r'] = 'r', ['"'] = '"',  ['\\'] = '\\'};
    const unsigned char *p = (const unsigned char *)data;
    size_t plain = 0, i = 0;
    while (i < len) {
        size_t n = utf8_length(p + i, len - i);
        bool special = p[i] < sizeof(shorts) && shorts[p[i]];
        if (n > 0 && p[i] >= 0x20 && p[i] != 0x7f && !special) {
            i += n;
            continue;
        }
        put(w, data + plain, i - plain);
        char text[8];
        if (special)
            snprintf(text, sizeof(text), "\\%c", shorts[p[i]]);
        else
            snprintf(text, sizeof(text), "\\u%04x", n ? p[i] : 0xfffd);
        put_text(w, text);
        plain = ++i;
    }
    put(w, data + plain, len - plain);
}

/* gmtime_r would read the time zone's file and keep it in memory. Days to date after the
 * proleptic Gregorian calendar, with March as the first month. */
static void make_time(struct log_writer *w, int64_t second)
{
    int64_t days = second / 86400, rest = second % 86400;
    int64_t z = days + 719468, era = z / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    int month = (int)(mp < 10 ? mp + 3 : mp - 9), day = (int)(doy - (153 * mp + 2) / 5 + 1);
    int year = (int)(yoe + era * 400 + (month <= 2));
    char text[64];
    snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d", year, month, day,
             (int)(rest / 3600), (int)(rest / 60 % 60), (int)(rest % 60));
    memcpy(w->time_text, text, sizeof(w->time_text) - 1);
    w->time_second = second;
}

static void emit(struct log_writer *w, int stream, const char *data, size_t len)
{
    static const char *const ends[] = {"\",\"stream\":\"stdout\",\"time\":\"",
                                       "\",\"stream\":\"stderr\",\"time\":\""};
    struct timespec now;
    char fraction[20];
    if (w->good + (off_t)w->out_len > 0 && (uint64_t)w->good + w->out_len + len > w->max_bytes)
        rotate(w);
    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != w->time_second)
        make_time(w, now.tv_sec);
    snprintf(fraction, sizeof(fraction), ".%09ldZ\"}\n", now.tv_nsec);
    w->skipping = false;
    put_text(w, "{\"log\":\"");
    put_escaped(w, data, len);
    put_text(w, ends[stream]);
    put_text(w, w->time_text);
    put_text(w, fraction);
    if (w->skipping)
        w->dropped++;
    else if (w->out_len > 0)
        w->line_end = w->out_len;
    else
        w->good = w->disk; /* the buffer was full, and written, exactly at the line's end */
}

/* How much of an unfinished piece to write, so that no character is cut in two. */
static size_t whole_characters(const char *data, size_t len)
{
    for (size_t back = 1; back <= 3 && back < len; back++) {
        unsigned char c = (unsigned char)data[len - back];
        if ((c & 0xc0) == 0x80)
            continue;
        size_t need = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        return need > back ? len - back : len;
    }
    return len;
}

static void emit_held(struct log_writer *w, int stream, bool all)
{
    size_t n = all ? w->held[stream] : whole_characters(w->line[stream], w->held[stream]);
    if (n == 0)
        return;
    emit(w, stream, w->line[stream], n);
    w->held[stream] -= n;
    memmove(w->line[stream], w->line[stream] + n, w->held[stream]);
}

void log_writer_add(struct log_writer *w, int stream, const char *data, size_t len)
{
    while (len > 0) {
        const char *newline = memchr(data, '\n', len);
        size_t n = newline ? (size_t)(newline - data) + 1 : len;
        if (newline && w->held[stream] == 0 && n <= LOG_PIECE_BYTES) {
            emit(w, stream, data, n);
        } else {
            n = MIN(n, LOG_PIECE_BYTES - w->held[stream]);
            memcpy(w->line[stream] + w->held[stream], data, n);
            w->held[stream] += n;
            bool ended = data[n - 1] == '\n';
            if (ended || w->held[stream] == LOG_PIECE_BYTES)
                emit_held(w, stream, ended);
        }
        data += n;
        len -= n;
    }
    flush(w);
}

void log_writer_flush(struct log_writer *w)
{
    for (int stream = 0; stream < 2; stream++)
        emit_held(w, stream, true);
    flush(w);
}

void log_writer_close(struct log_writer *w)
{
    log_writer_flush(w);
    w->fd = close_fd(w->fd);
}
