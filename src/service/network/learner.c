/*
 * Names of outside hosts, for an instance whose policies name some: its own proa-names
 * (service/names), to which the rules lead what it asks (map `resolvers`), in front of the dnsmasq
 * that would have answered.
 *
 * RUN/networks/learners/ID has its port and its pid. One of its arguments is a digest of all that
 * it was told, so learner_settle sees whether it is the right one; where it is not, another is
 * started, the questions are led there in one transaction, and then the old one ends. The pid is
 * written last: a start that was killed is done again. One that is killed leaves questions without
 * an answer until the next command; what it has taught stays in the kernel.
 *
 * Before a port goes its instance's proa-names ends, so that nothing is learned for an address that
 * is about to be somebody else's. All of it is under a lock on the directory, because every command
 * settles every instance, also those that other commands are at work on.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/program.h"
#include "base/sha256.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/conntrack.h"
#include "service/names/names.h"
#include "service/network/network-internal.h"
#include "service/network/rules.h"
#include "service/policy/policy.h"
#include "service/store/policy.h"
#include "wire/policy/policy.h"

#define QUESTIONS_PORT 53

struct learner {
    char *dir, *pid_path, *port_path, *mark;
    struct attached attached;
    struct names_config config;
    char *text, *upstream, *told; /* told: the digest of both */
    int lock;
};

static char *learners_dir(struct store *s)
{
    return path_join(s->run, "networks/learners");
}

static void learner_done(struct learner *l)
{
    attached_done(&l->attached);
    names_config_done(&l->config);
    free(l->dir);
    free(l->pid_path);
    free(l->port_path);
    free(l->mark);
    free(l->text);
    free(l->upstream);
    free(l->told);
    close_fd(l->lock);
}

static int take_lock(struct store *s, struct learner *l, struct error *err)
{
    _cleanup_free_ char *dir = learners_dir(s);
    int r = path_make_dirs(dir, 0700);
    if (r == 0) {
        l->lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = l->lock < 0 || flock(l->lock, LOCK_EX) < 0 ? -errno : 0;
    }
    return r < 0 ? error_errno(err, r, "lock %s", dir) : 0;
}

static int open_learner(struct store *s, const char *instance_id, struct learner *ret,
                        struct error *err)
{
    *ret = (struct learner){
        .dir = xasprintf("%s/networks/learners/%s", s->run, instance_id),
        .pid_path = xasprintf("%s/networks/learners/%s/pid", s->run, instance_id),
        .port_path = xasprintf("%s/networks/learners/%s/port", s->run, instance_id),
        .mark = xasprintf("names:%s", instance_id),
        .lock = -EBADF,
    };
    int r = take_lock(s, ret, err);
    if (r == 0 && (r = path_make_dirs(ret->dir, 0700)) < 0)
        r = error_errno(err, r, "create %s", ret->dir);
    return r < 0 ? r : attached_read(s, instance_id, &ret->attached, err);
}

bool learner_exists(struct store *s, const char *instance_id)
{
    _cleanup_free_ char *dir = xasprintf("%s/networks/learners/%s", s->run, instance_id);
    return access(dir, F_OK) == 0;
}

uint16_t learner_port(struct store *s, const char *instance_id)
{
    _cleanup_free_ char *path = xasprintf("%s/networks/learners/%s/port", s->run, instance_id);
    return resolver_read_port(path);
}

/* --- what it is told --- */

static int describe(struct store *s, const char *instance_id, struct learner *l, struct error *err)
{
    unsigned char sum[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    struct sha256 h;
    uint16_t port = resolver_port(s, instance_id);
    int r = policy_domains_of(s, instance_id, &l->config.lists, &l->config.n_lists, err);
    if (r < 0 || l->config.n_lists == 0 || l->attached.n == 0)
        return r;
    snprintf(l->config.table, sizeof(l->config.table), "%s", store_table(s, POLICY_TABLE).name);
    for (size_t i = 0; i < l->attached.n; i++) {
        const struct store_port *p = l->attached.ports[i];
        l->config.addresses[l->config.n_addresses++] = policy_address_from4(p->address);
        if (!IN6_IS_ADDR_UNSPECIFIED(&p->address6))
            l->config.addresses[l->config.n_addresses++] = policy_address_from6(&p->address6);
    }
    l->text = names_config_text(&l->config);
    if (!l->text)
        return error_set(err, ERROR_LIMIT, EFBIG, "the policies name too many outside hosts");
    l->upstream = xasprintf("%s:%u", address_text(l->attached.networks[0]->gateway).s,
                            port ? port : NAMES_PORT);
    sha256_init(&h);
    sha256_add_text(&h, l->text);
    sha256_add_text(&h, l->upstream);
    sha256_end(&h, sum);
    hex_encode(sum, sizeof(sum), hex);
    l->told = xasprintf("told:%s", hex);
    return 0;
}

/* --- the process --- */

static int bind_one(int type, const struct sockaddr_in *at)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && bind(fd, (const struct sockaddr *)at, sizeof(*at)) < 0)
        fd = close_fd(fd);
    return fd;
}

/* Two sockets on one port of the range that the rules guard. */
static int bind_both(struct in_addr address, int ret_fds[2], uint16_t *ret_port, struct error *err)
{
    uint16_t port = resolver_free_port(address);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = address, .sin_port = htons(port)};
    ret_fds[0] = port ? bind_one(SOCK_DGRAM, &at) : -EBADF;
    ret_fds[1] = port ? bind_one(SOCK_STREAM, &at) : -EBADF;
    *ret_port = port;
    if (ret_fds[0] < 0 || ret_fds[1] < 0 || listen(ret_fds[1], 16) < 0)
        return error_set(err, ERROR_LIMIT, EADDRINUSE, "no port is left on %s for proa-names",
                         address_text(address).s);
    return 0;
}

static int config_file(const struct learner *l, int *ret, struct error *err)
{
    _cleanup_close_ int fd = memfd_create("names", MFD_CLOEXEC);
    int r = fd < 0 ? -errno : fd_write_all(fd, l->text, strlen(l->text));
    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = -errno;
    if (r < 0)
        return error_errno(err, r, "write what proa-names is told");
    *ret = TAKE_FD(fd);
    return 0;
}

static int start(const struct learner *l, const int sockets[2], pid_t *ret_pid, struct error *err)
{
    _cleanup_free_ char *program = NULL;
    _cleanup_close_ int config = -EBADF, ready = -EBADF, says = -EBADF;
    int ends[2];
    int r = program_find("proa-names", &program, err);
    if (r == 0)
        r = config_file(l, &config, err);
    if (r == 0 && pipe2(ends, O_CLOEXEC) < 0)
        r = error_errno(err, errno, "make a pipe");
    if (r < 0)
        return r;
    ready = ends[0];
    says = ends[1];
    char *const argv[] = {l->mark, l->told, l->upstream, NULL};
    const struct process_fd fds[] = {{sockets[0], NAMES_UDP},
                                     {sockets[1], NAMES_TCP},
                                     {config, NAMES_CONFIG},
                                     {says, NAMES_READY}};
    struct process_spec spec = {
        .path = program, .argv = argv, .fds = fds, .n_fds = ARRAY_SIZE(fds), .new_session = true};
    r = process_start(&spec, ret_pid, err);
    says = close_fd(says);
    return r < 0
               ? r
               : keeper_await(
                     ready, "proa-names did not begin: names of outside hosts would not be learned",
                     err);
}

static int write_number(const char *path, unsigned int number, struct error *err)
{
    char text[16];
    int len = snprintf(text, sizeof(text), "%u", number);
    int r = file_write_atomic(AT_FDCWD, path, text, (size_t)len, 0600);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

/* port 0: to whom they went before. A socket that has asked already would go on asking whom it
 * asked first. */
static int lead(struct store *s, const char *instance_id, const struct learner *l, uint16_t port,
                struct error *err)
{
    int r = 0;
    if (port == 0)
        port = resolver_port(s, instance_id);
    for (size_t i = 0; r == 0 && i < l->attached.n; i++) {
        if (port)
            r = rules_add_resolver(s, l->attached.ports[i]->address, port, err);
        else
            rules_remove_resolver(s, l->attached.ports[i]->address);
        (void)!conntrack_forget_questions(l->attached.ports[i]->address, QUESTIONS_PORT, NULL);
    }
    return r;
}

static void take_down(struct store *s, const char *instance_id, const struct learner *l)
{
    (void)!lead(s, instance_id, l, 0, NULL);
    keepers_stop(l->mark, 0);
    (void)!path_remove_tree(AT_FDCWD, l->dir);
}

static int bring_up(struct store *s, const char *instance_id, const struct learner *l,
                    struct error *err)
{
    int sockets[2] = {-EBADF, -EBADF};
    uint16_t port = 0;
    pid_t pid = 0;
    int r = bind_both(l->attached.networks[0]->gateway, sockets, &port, err);
    if (r == 0)
        r = start(l, sockets, &pid, err);
    close_fd(sockets[0]);
    close_fd(sockets[1]);
    if (r == 0)
        r = write_number(l->port_path, port, err);
    if (r == 0)
        r = lead(s, instance_id, l, port, err);
    if (r == 0)
        r = write_number(l->pid_path, (unsigned int)pid, err);
    if (r < 0)
        take_down(s, instance_id, l);
    else
        keepers_stop(l->mark, pid);
    return r;
}

/* --- what the rest calls --- */

static bool is_right(const struct learner *l)
{
    return dnsmasq_recorded(l->pid_path, l->mark) && dnsmasq_recorded(l->pid_path, l->told);
}

int learner_settle(struct store *s, const char *instance_id, struct error *err)
{
    struct policy_domains *lists = NULL;
    struct learner l;
    size_t n = 0;
    bool there = learner_exists(s, instance_id);
    int r = there ? 0 : policy_domains_of(s, instance_id, &lists, &n, err);
    policy_domains_list_free(lists, n);
    if (r < 0 || (!there && n == 0))
        return r; /* as nearly always */
    r = open_learner(s, instance_id, &l, err);
    if (r == 0)
        r = describe(s, instance_id, &l, err);
    if (r == 0 && !l.told)
        take_down(s, instance_id, &l);
    else if (r == 0 && !is_right(&l))
        r = bring_up(s, instance_id, &l, err);
    learner_done(&l);
    return r < 0 ? error_prefix(err, "names of outside hosts") : 0;
}

/* Another command may have settled the instance after learner_down: it did so under the lock, with
 * its directory made first, so it is seen here, or it has seen that the port is gone. */
void learner_left(struct store *s, const struct store_port *row)
{
    if (!learner_exists(s, row->instance_id))
        return;
    learner_down(s, row->instance_id);
    rules_remove_resolver(s, row->address);
}

void learner_down(struct store *s, const char *instance_id)
{
    struct learner l;
    if (!learner_exists(s, instance_id))
        return;
    if (open_learner(s, instance_id, &l, NULL) == 0)
        take_down(s, instance_id, &l);
    learner_done(&l);
}

int network_settle_names(struct store *s, struct error *err)
{
    _cleanup_free_ char *dir = learners_dir(s);
    _cleanup_strv_ char **ids = NULL;
    const struct dirent *entry;
    int r = store_selector_instances(s, POLICY_DOMAINS_TEXT, &ids, err);
    DIR *d = r < 0 ? NULL : opendir(dir);
    while (d && (entry = readdir(d)))
        if (entry->d_name[0] != '.' && !strv_has(ids, entry->d_name))
            strv_add(&ids, entry->d_name);
    if (d)
        closedir(d);
    for (size_t i = 0; r == 0 && ids[i]; i++)
        r = learner_settle(s, ids[i], err);
    return r;
}
