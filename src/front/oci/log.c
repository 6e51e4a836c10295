/* --log: what callers read when a command fails (conmon, containerd's shim, Docker). */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "front/oci/session.h"

/* logrus's text form: key=value with quoted values. */
static char *text_line(const char *time, const char *level, const char *message)
{
    _cleanup_json_ json_t *quoted = json_string(message);
    char *text = quoted ? json_dumps(quoted, JSON_ENCODE_ANY) : NULL;
    char *line =
        xasprintf("time=\"%s\" level=%s msg=%s\n", time, level, text ? text : "\"(no text)\"");
    free(text);
    return line;
}

static char *json_line(const char *time, const char *level, const char *message)
{
    _cleanup_json_ json_t *o =
        json_pack("{s:s,s:s,s:s}", "level", level, "msg", message, "time", time);
    _cleanup_free_ char *text = o ? json_to_text(o) : xstrdup("{}");
    return xasprintf("%s\n", text);
}

void oci_log(const struct oci_globals *g, const char *level, const char *message)
{
    if (!g || !g->log || !*g->log)
        return;
    struct text64 now = time_format(time_now_ns());
    bool json = g->log_format && strcmp(g->log_format, "json") == 0;
    _cleanup_free_ char *line =
        json ? json_line(now.s, level, message) : text_line(now.s, level, message);
    _cleanup_close_ int fd =
        open(g->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0644);
    if (fd < 0)
        output_warning("open the log %s: %s", g->log, strerror(errno));
    else
        (void)!fd_write_all(fd, line, strlen(line));
}
