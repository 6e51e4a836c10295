/*
 * Standard input, output and error. The image's descriptors.json has what each was, as runc and
 * crun write it: "pipe:[12345]", "/dev/null", "/dev/pts/0". A pipe of the caller's is replaced by
 * what the restoring caller has at that number. So is a file that lies in no mount of the
 * container's: that is noted as "file[MOUNT:INODE]", which is CRIU's own name for it; or, when it
 * is the null device, "null:file[…]", which is opened again.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/strv.h"
#include "runtime/oci/criu/external.h"

#define FILE_NAME   "descriptors.json"
#define NULL_PREFIX "null:"
#define MAX_LINK    4096
#define MAX_INFO    ((size_t)1 << 20)

static bool starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

char **oci_descriptors_read(pid_t pid)
{
    char **all = strv_copy(NULL);
    for (int fd = 0; fd < 3; fd++) {
        char link[MAX_LINK];
        _cleanup_free_ char *path =
            pid > 0 ? xasprintf("/proc/%d/fd/%d", (int)pid, fd) : xasprintf("/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, link, sizeof(link));
        strv_addf(&all, "%.*s", n > 0 && n < (ssize_t)sizeof(link) ? (int)n : 0, link);
    }
    return all;
}

static int mount_of(pid_t pid, int fd, int *ret)
{
    _cleanup_free_ char *path = xasprintf("/proc/%d/fdinfo/%d", (int)pid, fd), *text = NULL;
    int r = file_read_kernel(AT_FDCWD, path, MAX_INFO, &text);
    const char *at = r < 0 ? NULL : strstr(text, "mnt_id:");
    return at && sscanf(at, "mnt_id: %d", ret) == 1 ? 0 : r < 0 ? r : -ENOENT;
}

static bool has_mount(const char *mountinfo, int id)
{
    _cleanup_strv_ char **lines = strv_split(mountinfo, '\n');
    int found;
    for (size_t i = 0; lines[i]; i++)
        if (sscanf(lines[i], "%d ", &found) == 1 && found == id)
            return true;
    return false;
}

/* The key of what is at that number when it is a file or a device of the host's; else NULL. */
static char *outside(const struct oci_container *c, const char *mountinfo, int fd)
{
    struct stat st;
    int mount_id;
    _cleanup_free_ char *path = xasprintf("/proc/%d/fd/%d", (int)c->pid, fd);
    if (stat(path, &st) < 0 || mount_of(c->pid, fd, &mount_id) < 0 ||
        has_mount(mountinfo, mount_id) || S_ISSOCK(st.st_mode))
        return NULL;
    bool null = S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
    /* A terminal of the host's is the matter of --shell-job, a pipe has no file. */
    if (!null && !S_ISREG(st.st_mode))
        return NULL;
    return xasprintf("%sfile[%x:%lx]", null ? NULL_PREFIX : "", (unsigned int)mount_id,
                     (unsigned long)st.st_ino);
}

int criu_descriptors_of(const struct oci_container *c, int image, char ***external,
                        struct error *err)
{
    _cleanup_free_ char *path = xasprintf("/proc/%d/mountinfo", (int)c->pid), *mountinfo = NULL;
    _cleanup_strv_ char **all = oci_descriptors_read(c->pid);
    int r = file_read_kernel(AT_FDCWD, path, MAX_INFO, &mountinfo);
    if (r < 0)
        return error_errno(err, r, "read %s", path);
    for (int fd = 0; fd < 3; fd++) {
        char *key = outside(c, mountinfo, fd);
        bool was_given = c->descriptors && strcmp(c->descriptors[fd], all[fd]) == 0;
        if (key) {
            strv_addf(external, "%s", starts(key, NULL_PREFIX) ? key + strlen(NULL_PREFIX) : key);
            free(all[fd]);
            all[fd] = key;
        } else if (starts(all[fd], "pipe:") && !was_given) {
            xreplace(&all[fd], ""); /* the container's own */
        }
    }
    _cleanup_json_ json_t *o = json_from_strv(all);
    _cleanup_free_ char *text = json_to_text(o);
    r = file_write_atomic(image, FILE_NAME, text, strlen(text), 0600);
    return r < 0 ? error_errno(err, r, "write " FILE_NAME " into the image") : 0;
}

static void inherit(struct criu_given *g, const char *key, int fd)
{
    g->inherited[g->n_inherited++] = (struct criu_inherited){xstrdup(key), fd};
}

static int give_null(struct criu_given *g, const char *key, struct error *err)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, "open /dev/null");
    inherit(g, key, CRIU_FIRST_FD + (int)g->n_fds);
    g->fds[g->n_fds++] = fd;
    return 0;
}

int criu_descriptors_for(int image, struct criu_given *g, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    int r = json_parse_file(image, FILE_NAME, &o, err);
    if (r < 0)
        return error_prefix(err, "the image has no usable " FILE_NAME);
    for (size_t i = 0; i < 3 && r == 0; i++) {
        const char *was = json_string_value(json_array_get(o, i));
        if (!was)
            continue;
        if (starts(was, "pipe:") || starts(was, "file["))
            inherit(g, was, (int)i);
        else if (starts(was, NULL_PREFIX))
            r = give_null(g, was + strlen(NULL_PREFIX), err);
        else if (i == 0 && starts(was, "/dev/pts/"))
            xreplace(&g->terminal, was);
    }
    return r;
}
