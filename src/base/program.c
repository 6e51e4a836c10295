#include "base/program.h"

#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/text.h"

static char *own_directory;

void program_set_directory(const char *directory)
{
    xreplace(&own_directory, directory);
}

/* Beside this program's own file; owned, NULL when there is none of that name. */
static char *find_beside(const char *name)
{
    char self[4096];
    ssize_t n = own_directory ? 0 : readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    _cleanup_free_ char *beside = path_join(own_directory ? own_directory : self, name);
    return access(beside, X_OK) == 0 ? TAKE_PTR(beside) : NULL;
}

int program_find(const char *name, char **ret_path, struct error *err)
{
    char *beside = find_beside(name);
    if (beside) {
        *ret_path = beside;
        return 0;
    }
    _cleanup_free_ char *installed = path_join(PROA_LIBEXECDIR, name);
    if (access(installed, X_OK) == 0) {
        *ret_path = TAKE_PTR(installed);
        return 0;
    }
    return error_set(err, ERROR_NOT_FOUND, ENOENT,
                     "helper program %s is missing: neither beside proa nor in %s; run `make`",
                     name, PROA_LIBEXECDIR);
}

void program_progress(struct buf *out, void (*progress)(void *context, uint64_t done),
                      void *context)
{
    char *end;
    uint64_t done;
    while (out->len > 0 && isdigit((unsigned char)out->data[0]) &&
           (end = memchr(out->data, '\n', out->len))) {
        *end = '\0';
        if (parse_u64(out->data, UINT64_MAX, &done) == 0 && progress)
            progress(context, done);
        buf_consume(out, (size_t)(end - out->data) + 1);
    }
}

int program_failed(const char *name, struct buf *text, int status, struct error *err)
{
    while (text->len > 0 && text->data[text->len - 1] == '\n')
        text->data[--text->len] = '\0';
    if (text->len == 0)
        return error_set(err, ERROR_SYSTEM, EIO, "%s ended with status %d", name, status);
    char *line = strrchr(text->data, '\n');
    line = line ? line + 1 : text->data;
    char *space = strchr(line, ' ');
    if (!space || status != 1)
        return error_set(err, ERROR_SYSTEM, EIO, "%s ended with status %d: %s", name, status, line);
    *space = '\0';
    enum error_kind kind = error_kind_from_name(line);
    return error_set(err, kind, kind == ERROR_LIMIT ? EFBIG : EBADMSG, "%s", space + 1);
}
