#include "service/snapshot/parcel.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/program.h"
#include "base/strv.h"
#include "wire/parcel/parcel.h"

/* Beside proa-disk's (service/image/disk-helper.c); one for each process that receives. */
#define UID_BASE 0x74400000u
#define UID_MASK 0x003fffffu
#define HEAD     "head"

int parcel_tls_check(const struct parcel_tls *t, struct error *err)
{
    return t->cert && t->key && t->ca
               ? 0
               : error_invalid(err, "both sides show who they are: give --tls-cert, --tls-key and "
                                    "--tls-ca");
}

static uid_t own_uid(void)
{
    return UID_BASE + ((uid_t)getpid() & UID_MASK);
}

struct start {
    char *const *words; /* after the program's name */
    int stream, engine, folder;
    const struct parcel_tls *tls;
};

/* Numbers as in wire/parcel/program.h. */
static int start(const struct start *how, pid_t *ret_pid, int *ret_messages, struct error *err)
{
    _cleanup_free_ char *path = NULL;
    _cleanup_strv_ char **argv = NULL;
    _cleanup_close_ int messages = memfd_create("proa-parcel", MFD_CLOEXEC);
    const char *const files[] = {how->tls ? how->tls->cert : NULL, how->tls ? how->tls->key : NULL,
                                 how->tls ? how->tls->ca : NULL};
    int opened[ARRAY_SIZE(files)] = {-EBADF, -EBADF, -EBADF};
    struct process_fd fds[4 + ARRAY_SIZE(files)] = {
        {how->stream, 0}, {how->engine, 1}, {messages, 2}, {how->folder, 3}};
    size_t n = 4;
    int r = program_find("proa-parcel", &path, err);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(files) && files[i]; i++) {
        opened[i] = open(files[i], O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (opened[i] < 0)
            r = error_errno(err, errno, "open %s", files[i]);
        fds[n++] = (struct process_fd){opened[i], 4 + (int)i};
    }
    strv_add(&argv, "proa-parcel");
    for (size_t i = 0; how->words[i]; i++)
        strv_add(&argv, how->words[i]);
    const struct process_spec spec = {.path = path, .argv = argv, .fds = fds, .n_fds = n};
    if (r == 0)
        r = process_start(&spec, ret_pid, err);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        close_fd(opened[i]);
    if (r == 0)
        *ret_messages = TAKE_FD(messages);
    return r;
}

int parcel_why(pid_t *pid, int messages, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(4096);
    int status = 0;
    if (*pid > 0)
        (void)!process_wait(*pid, &status);
    *pid = 0;
    (void)!lseek(messages, 0, SEEK_SET);
    (void)!fd_read_to_end(messages, &text);
    return status ? program_failed("proa-parcel", &text, status, err)
                  : error_set(err, ERROR_SYSTEM, EPIPE, "the other side has gone");
}

int parcel_tls_try(const struct parcel_tls *t, struct error *err)
{
    _cleanup_close_ int messages = -EBADF;
    _cleanup_free_ char *uid = xasprintf("%u", own_uid());
    char *const words[] = {(char *)"try", uid, NULL};
    const struct start how = {words, -EBADF, -EBADF, -EBADF, t};
    struct error why = ERROR_INIT;
    pid_t pid = 0;
    int r = start(&how, &pid, &messages, err);
    if (r == 0 && parcel_why(&pid, messages, &why) != -EPIPE)
        r = error_set(err, why.kind, why.code, "%s", why.msg);
    return r;
}

int parcel_line(int fd, char *line, size_t size, struct error *err)
{
    size_t n = 0;
    while (n < size) {
        ssize_t got = read(fd, line + n, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return error_set(err, ERROR_SYSTEM, EPIPE, "the other side has gone");
        if (line[n++] == '\n') {
            line[n - 1] = '\0';
            return 0;
        }
    }
    return error_set(err, ERROR_CORRUPT, EBADMSG, "the other side answers with no line of text");
}

static int make_folder(struct parcel_in *p, struct error *err)
{
    p->folder = xasprintf("%s/tmp/%s/parcel", p->work.store->root, p->work.name);
    if (mkdir(p->folder, 0700) < 0)
        return error_errno(err, errno, "create %s", p->folder);
    p->folder_fd = open(p->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->folder_fd < 0 || fchown(p->folder_fd, p->uid, p->uid) < 0)
        return error_errno(err, errno, "hand %s over", p->folder);
    return 0;
}

int parcel_in_open(struct store *s, int stream, const struct parcel_tls *tls, struct parcel_in *p,
                   struct error *err)
{
    int pair[2];
    p->uid = own_uid();
    int r = image_work_begin(s, &p->work, err);
    if (r == 0)
        r = make_folder(p, err);
    if (r < 0)
        return r;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(err, errno, "make a socket pair");
    _cleanup_close_ int theirs = pair[1];
    _cleanup_free_ char *uid = xasprintf("%u", p->uid);
    char *const words[] = {(char *)(tls ? "receive-tls" : "receive"), uid, NULL};
    p->lines = pair[0];
    const struct start how = {words, stream, theirs, p->folder_fd, tls};
    return start(&how, &p->pid, &p->messages, err);
}

int parcel_in_next(struct parcel_in *p, enum parcel_event *ret, struct error *err)
{
    char line[64];
    struct error ignored = ERROR_INIT;
    if (parcel_line(p->lines, line, sizeof(line), &ignored) < 0)
        return parcel_why(&p->pid, p->messages, err);
    if (strcmp(line, "head") == 0)
        *ret = PARCEL_IS_HEAD;
    else if (strncmp(line, "sync ", 5) == 0)
        *ret = PARCEL_IS_SYNC;
    else if (strcmp(line, "end") == 0)
        *ret = PARCEL_IS_ALL;
    else
        return error_set(err, ERROR_SYSTEM, EBADMSG, "proa-parcel says what it never says");
    return 0;
}

int parcel_in_answer(struct parcel_in *p, const char *line, struct error *err)
{
    char text[PARCEL_ANSWER_MAX];
    snprintf(text, sizeof(text) - 1, "%s", line);
    for (char *c = text; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    size_t n = strlen(text);
    text[n++] = '\n';
    int r = fd_write_all(p->lines, text, n);
    return r < 0 ? error_errno(err, r, "answer the other side") : 0;
}

/* A plain file that it has made, and that has no other name. */
static int open_file(struct parcel_in *p, const char *name, struct error *err)
{
    struct stat st;
    _cleanup_close_ int fd =
        openat(p->folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return error_set(err, ERROR_CORRUPT, ENOENT, "the parcel has no file %s", name);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, errno, "open the parcel's %s", name);
    if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_uid != p->uid)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the parcel's %s is no file of its own",
                         name);
    return TAKE_FD(fd);
}

int parcel_in_head(struct parcel_in *p, char **ret, struct error *err)
{
    _cleanup_buf_ struct buf b = BUF_INIT(PARCEL_HEAD_MAX);
    _cleanup_close_ int fd = open_file(p, HEAD, err);
    int r = fd < 0 ? fd : fd_read_to_end(fd, &b);
    if (r < 0)
        return fd < 0 ? r : error_errno(err, r, "read the parcel's head");
    if (b.len == 0 || memchr(b.data, '\0', b.len))
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the parcel's head is no text");
    *ret = buf_take(&b);
    return 0;
}

int parcel_in_names(struct parcel_in *p, char ***ret, struct error *err)
{
    _cleanup_strv_ char **all = NULL, **names = strv_copy(NULL);
    int r = path_list_names(p->folder_fd, &all);
    if (r < 0)
        return error_errno(err, r, "read the parcel's folder");
    for (size_t i = 0; all[i]; i++)
        if (strcmp(all[i], HEAD) != 0)
            strv_add(&names, all[i]);
    *ret = TAKE_PTR(names);
    return 0;
}

int parcel_in_take(struct parcel_in *p, const char *name, const char *to, struct error *err)
{
    _cleanup_close_ int fd = open_file(p, name, err);
    if (fd < 0)
        return fd;
    if (fchown(fd, 0, 0) < 0 || fchmod(fd, 0600) < 0 ||
        renameat(p->folder_fd, name, AT_FDCWD, to) < 0)
        return error_errno(err, errno, "take the parcel's %s", name);
    return 0;
}

void parcel_in_close(struct parcel_in *p)
{
    p->lines = close_fd(p->lines);
    if (p->pid > 0) {
        kill(p->pid, SIGKILL);
        waitpid(p->pid, NULL, 0);
    }
    p->pid = 0;
    p->messages = close_fd(p->messages);
    p->folder_fd = close_fd(p->folder_fd);
    free(p->folder);
    p->folder = NULL;
    image_work_end(&p->work);
}

int parcel_dial(const char *host, const char *port, const struct parcel_tls *tls, pid_t *ret_pid,
                int *ret_fd, int *ret_messages, struct error *err)
{
    char line[16];
    int pair[2];
    struct error ignored = ERROR_INIT;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(err, errno, "make a socket pair");
    _cleanup_close_ int ours = pair[0], theirs = pair[1], messages = -EBADF;
    _cleanup_free_ char *uid = xasprintf("%u", own_uid());
    char *const words[] = {(char *)"dial", uid, (char *)host, (char *)port, NULL};
    const struct start how = {words, theirs, theirs, -EBADF, tls};
    pid_t pid = 0;
    int r = start(&how, &pid, &messages, err);
    if (r < 0)
        return r;
    theirs = close_fd(theirs);
    if (parcel_line(ours, line, sizeof(line), &ignored) < 0 || strcmp(line, "ready") != 0)
        return parcel_why(&pid, messages, err);
    *ret_pid = pid;
    *ret_fd = TAKE_FD(ours);
    *ret_messages = TAKE_FD(messages);
    return 0;
}
