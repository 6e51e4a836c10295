/*
 * A network's proa-peers (service/peers): started with the network, ended with it.
 *
 * Its pid is in RUN/networks/.peers/NAME, written last; whether that process is still the one is
 * told by its first argument. A command that finds it killed starts another.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/program.h"
#include "base/sha256.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/network/network-internal.h"
#include "service/network/span-internal.h"
#include "service/peers/peers.h"

#define FREE_MS 2000 /* until the port of one that was killed is free */
#define KEY_MIN 16u
#define KEY_MAX 4096u

uint16_t span_port(const struct network *n)
{
    return n->vxlan_id ? (uint16_t)(PEERS_PORT_FIRST + n->vxlan_id % PEERS_PORTS) : 0;
}

int span_check(const struct network *n, struct network *const *others, struct error *err)
{
    for (size_t i = 0; n->vxlan_id && others[i]; i++)
        if (span_port(others[i]) == span_port(n))
            return error_set(err, ERROR_CONFLICT, EADDRINUSE,
                             "VXLAN number %u: network %s has number %u, and both would be spoken "
                             "about on port %u/tcp; choose another number",
                             n->vxlan_id, others[i]->name, others[i]->vxlan_id, span_port(n));
    return 0;
}

/* --- the key --- */

static int check_key_file(const char *path, struct error *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return error_errno(err, errno, "read the key %s", path);
    if (st.st_mode & 077)
        return error_invalid(err, "the key %s can be read by others: chmod 600 it", path);
    return 0;
}

int span_read_key(const char *path, char **ret, struct error *err)
{
    _cleanup_free_ char *text = NULL;
    unsigned char sum[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    struct sha256 h;
    if (!path)
        return 0;
    int r = check_key_file(path, err);
    if (r < 0)
        return r;
    r = file_read(AT_FDCWD, path, KEY_MAX, &text);
    if (r < 0)
        return error_errno(err, r, "read the key %s", path);
    text[strcspn(text, "\r\n")] = '\0';
    if (strlen(text) < KEY_MIN)
        return error_invalid(err, "the key %s is too short: one line of at least %u characters",
                             path, KEY_MIN);
    sha256_init(&h);
    sha256_add(&h, text, strlen(text));
    sha256_end(&h, sum);
    hex_encode(sum, sizeof(sum), hex);
    *ret = xstrdup(hex);
    return 0;
}

/* --- the process --- */

static char *span_dir(struct store *s)
{
    return path_join(s->run, "networks/.peers");
}

static char *pid_path(struct store *s, const char *network)
{
    return xasprintf("%s/networks/.peers/%s", s->run, network);
}

static char *mark_of(const struct network *n)
{
    return xasprintf("peers:%.16s", n->id);
}

bool span_running(struct store *s, const struct network *n)
{
    _cleanup_free_ char *path = pid_path(s, n->name), *mark = mark_of(n);
    return !n->vxlan_id || dnsmasq_recorded(path, mark);
}

static int bind_port(const struct network *n, int *ret, struct error *err)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(span_port(n))};
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int64_t end = time_monotonic_ms() + FREE_MS;
    int on = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        return error_errno(err, errno, "make a socket");
    while (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
        if (errno != EADDRINUSE || time_monotonic_ms() > end)
            return error_set(err, ERROR_CONFLICT, errno,
                             "port %u/tcp, on which other hosts tell who is on network %s: %s",
                             span_port(n), n->name, strerror(errno));
        usleep(2000);
    }
    if (listen(fd, (int)PEERS_MAX) < 0)
        return error_errno(err, errno, "listen on port %u/tcp", span_port(n));
    *ret = TAKE_FD(fd);
    return 0;
}

static int start(struct store *s, const struct network *n, pid_t *ret_pid, struct error *err)
{
    _cleanup_free_ char *program = NULL, *mark = mark_of(n);
    _cleanup_close_ int listens = -EBADF, ready = -EBADF, says = -EBADF;
    int ends[2];
    int r = program_find("proa-peers", &program, err);
    if (r == 0)
        r = bind_port(n, &listens, err);
    if (r == 0 && pipe2(ends, O_CLOEXEC) < 0)
        r = error_errno(err, errno, "make a pipe");
    if (r < 0)
        return r;
    ready = ends[0];
    says = ends[1];
    char *const argv[] = {mark, s->root, n->name, NULL};
    const struct process_fd fds[] = {{listens, PEERS_LISTEN}, {says, PEERS_READY}};
    struct process_spec spec = {
        .path = program, .argv = argv, .fds = fds, .n_fds = ARRAY_SIZE(fds), .new_session = true};
    r = process_start(&spec, ret_pid, err);
    says = close_fd(says);
    return r < 0 ? r
                 : keeper_await(ready, "proa-peers did not begin: other hosts would not be heard",
                                err);
}

int span_up(struct store *s, const struct network *n, struct error *err)
{
    _cleanup_free_ char *dir = span_dir(s), *path = pid_path(s, n->name), *mark = mark_of(n);
    char text[16];
    pid_t pid = 0;
    if (span_running(s, n))
        return 0;
    keepers_stop(mark, 0);
    int r = path_make_dirs(dir, 0700);
    if (r < 0)
        return error_errno(err, r, "create %s", dir);
    r = start(s, n, &pid, err);
    if (r == 0) {
        int len = snprintf(text, sizeof(text), "%d", (int)pid);
        r = file_write_atomic(AT_FDCWD, path, text, (size_t)len, 0600);
        if (r < 0)
            r = error_errno(err, r, "write %s", path);
    }
    if (r < 0)
        keepers_stop(mark, 0);
    return r;
}

static void forget_process(struct store *s, const char *network)
{
    _cleanup_free_ char *dir = span_dir(s), *path = pid_path(s, network);
    unlink(path);
    rmdir(dir); /* stays while another network has one */
}

void span_down(struct store *s, const struct network *n)
{
    _cleanup_free_ char *path = pid_path(s, n->name), *mark = mark_of(n);
    if (!n->vxlan_id)
        return;
    pid_t pid = dnsmasq_recorded(path, mark);
    if (pid)
        dnsmasq_stop(pid, mark);
    keepers_stop(mark, 0);
    forget_process(s, n->name);
    (void)!heard_forget(s, n->name, NULL);
}

/* --- after a kill --- */

static bool is_up(struct store *s, const char *network)
{
    _cleanup_free_ char *up = xasprintf("%s/networks/%s/up", s->run, network);
    return access(up, F_OK) == 0;
}

static int settle_one(struct store *s, const char *network, struct error *err)
{
    _cleanup_network_ struct network *n = NULL;
    _cleanup_close_ int places = -EBADF, lock = -EBADF;
    bool there = store_network_find(s, network, &n, NULL) == 0 && strcmp(n->name, network) == 0;
    if (there && n->vxlan_id && is_up(s, network) && span_running(s, n))
        return 0; /* as nearly always */
    int r = network_lock(s, LOCK_PLACES, LOCK_SH, &places, err);
    if (r < 0)
        return r;
    if (!there || !n->vxlan_id || !is_up(s, network)) {
        forget_process(s, network);
        return heard_forget(s, network, err);
    }
    _cleanup_free_ char *lock_name = xasprintf("%s/lock", network);
    r = network_lock(s, lock_name, LOCK_EX, &lock, err);
    return r < 0 ? r : span_up(s, n, err);
}

int network_settle_peers(struct store *s, struct error *err)
{
    _cleanup_free_ char *dir = span_dir(s);
    _cleanup_strv_ char **networks = NULL;
    const struct dirent *entry;
    int r = store_heard_networks(s, &networks, err);
    DIR *d = r < 0 ? NULL : opendir(dir);
    while (d && (entry = readdir(d)))
        if (entry->d_name[0] != '.' && !strv_has(networks, entry->d_name))
            strv_add(&networks, entry->d_name);
    if (d)
        closedir(d);
    for (size_t i = 0; r == 0 && networks[i]; i++)
        r = settle_one(s, networks[i], err);
    return r < 0 ? error_prefix(err, "what other hosts say") : 0;
}
