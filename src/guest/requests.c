/* What the host asks for, a function a message (wire/agent/agent.h). */
#include <fcntl.h>
#include <linux/random.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "base/terminal.h"
#include "guest/agent-internal.h"
#include "kernel/tree.h"
#include "wire/agent/forms.h"
#include "wire/agent/prepare.h"

/* Once: a template has it open. */
int guest_open_random(void)
{
    static int fd = -EBADF;
    if (fd < 0)
        fd = open("/dev/random", O_RDWR | O_CLOEXEC);
    return fd;
}

void set_clock_and_seed(int64_t clock_ns, const char *seed, size_t seed_len)
{
    struct timespec now = {clock_ns / 1000000000, clock_ns % 1000000000};
    struct {
        struct rand_pool_info info;
        char bytes[256];
    } pool = {.info = {.entropy_count = (int)MIN(seed_len, (size_t)256) * 8,
                       .buf_size = (int)MIN(seed_len, (size_t)256)}};
    if (clock_ns)
        (void)!clock_settime(CLOCK_REALTIME, &now);
    int fd = guest_open_random();
    if (fd < 0 || seed_len == 0)
        return;
    memcpy(&pool.info.buf, seed, (size_t)pool.info.buf_size);
    (void)!ioctl(fd, RNDADDENTROPY, &pool);
    (void)!ioctl(fd, RNDRESEEDCRNG);
}

static int open_process(struct agent *a, uint32_t id, const struct guest_spawn *spawn,
                        struct error *err)
{
    struct guest_spawned started;
    struct stream *s;
    int r = stream_new(a, id, &s, err);
    if (r == 0)
        r = guest_spawn(&a->guest, spawn, &started, err);
    if (r < 0)
        return r;
    s->kind = STREAM_PROCESS;
    s->pid = started.pid;
    s->terminal = spawn->terminal;
    memcpy(s->fds, started.fds, sizeof(s->fds));
    s->no_in = s->fds[0] < 0;
    agent_must(agent_frame_add(&a->out, AGENT_STARTED, id, NULL, 0));
    return 0;
}

static int on_limits(struct agent *a, const struct agent_frame *f, struct error *err)
{
    struct oci_resources resources;
    const char *text;
    int r = agent_get_string(f, &text, err);
    oci_resources_init(&resources);
    if (r == 0)
        r = oci_resources_parse(text, strlen(text), &resources, err);
    if (r == 0)
        r = guest_limits_apply(&resources, err);
    if (r == 0 && resources.memory_limit != OCI_UNSET)
        r = guest_limits_memory(resources.memory_limit, err);
    if (r == 0)
        agent_must(agent_frame_add(&a->out, AGENT_OK, f->stream, NULL, 0));
    oci_resources_done(&resources);
    return r;
}

static int on_networks(struct agent *a, const struct agent_frame *f, struct error *err)
{
    struct agent_network *list;
    size_t n;
    int r = agent_networks_get(f, &list, &n, err);
    if (r < 0)
        return r;
    r = guest_network_move(list, n, err);
    free(list);
    if (r == 0)
        agent_must(agent_frame_add(&a->out, AGENT_OK, f->stream, NULL, 0));
    return r;
}

static int on_names(struct agent *a, const struct agent_frame *f, struct error *err)
{
    struct agent_names n;
    int r = agent_names_get(f, &n, err);
    if (r < 0)
        return r;
    r = guest_names_change(&a->guest, &n, err);
    free(n.gone);
    if (r == 0)
        agent_must(agent_frame_add(&a->out, AGENT_OK, f->stream, NULL, 0));
    return r;
}

static int on_start(struct agent *a, const struct agent_frame *f, struct error *err)
{
    struct guest_spawn spawn;
    if (!a->configured || a->guest.config || f->stream != AGENT_WORKLOAD)
        return error_invalid(err, "the machine cannot start its workload now");
    int r = guest_start_read(&a->guest, f, &spawn, err);
    if (r == 0)
        r = guest_limits_begin(&a->guest.config->linux_.resources, err);
    if (r == 0)
        r = guest_prepared_keep(&a->guest, f, err);
    if (r == 0)
        r = open_process(a, AGENT_WORKLOAD, &spawn, err);
    if (r == 0)
        a->guest.workload = stream_find(a, AGENT_WORKLOAD)->pid;
    return r;
}

static int on_prepare(struct agent *a, const struct agent_frame *f, struct error *err)
{
    uint32_t flags;
    int r = agent_get_u32(f, &flags, err);
    if (r < 0)
        return r;
    bool root = flags & AGENT_PREPARE_ROOT;
    if (a->configured || root != (a->guest.prepared != NULL))
        return error_invalid(err, "the machine cannot be a template any more");
    r = root ? guest_prepare_root(&a->guest, AGENT_PREPARE_LAYERS(flags), err)
             : guest_prepare(&a->guest, flags, err);
    if (r == 0)
        agent_must(agent_frame_add(&a->out, AGENT_OK, 0, NULL, 0));
    return r;
}

static int on_program(struct agent *a, const struct agent_frame *f, struct error *err)
{
    const char *text;
    int r = agent_get_string(f, &text, err);
    if (r < 0)
        return r;
    free(a->guest.program);
    a->guest.program = xstrdup(text);
    return 0;
}

static int need_workload(const struct agent *a, struct error *err)
{
    return a->guest.workload
               ? 0
               : error_set(err, ERROR_CONFLICT, ESRCH, "the machine runs no workload");
}

static int on_exec(struct agent *a, const struct agent_frame *f, struct error *err)
{
    struct agent_exec e;
    int r = need_workload(a, err);
    if (r == 0)
        r = agent_exec_get(f, &e, err);
    if (r < 0)
        return r;
    const struct oci_process *p = &a->guest.config->process;
    char **env = strv_copy(p->env);
    for (char **v = e.env; *v; v++)
        if (strchr(*v, '='))
            env_set(&env, *v);
    struct guest_spawn spawn = {
        .process = p,
        .argv = e.argv,
        .env = env,
        .cwd = *e.cwd ? e.cwd : p->cwd,
        .user = *e.user ? e.user : NULL,
        .terminal = e.terminal,
        .stdin_open = e.stdin_open,
        .discard_output = e.detach,
        .privileged = e.privileged,
        .rows = e.rows,
        .columns = e.columns,
    };
    r = open_process(a, f->stream, &spawn, err);
    strv_free(env);
    agent_exec_done(&e);
    return r;
}

static int send_plain(int rootfd, const char *path, int fd, struct error *err)
{
    return tree_send(rootfd, path, false, fd, err);
}

static int send_followed(int rootfd, const char *path, int fd, struct error *err)
{
    return tree_send(rootfd, path, true, fd, err);
}

static int send_export(int rootfd, const char *path, int fd, struct error *err)
{
    (void)path;
    return tree_send_all(rootfd, TREE_EXPORT, fd, err);
}

static int send_layer(int rootfd, const char *path, int fd, struct error *err)
{
    (void)path;
    return tree_send_all(rootfd, TREE_LAYER, fd, err);
}

static int send_changes(int rootfd, const char *path, int fd, struct error *err)
{
    (void)path;
    return tree_send_all(rootfd, TREE_CHANGES, fd, err);
}

/* The root is taken from here, where nothing of the workload's is mounted on it. */
static const struct whole_form {
    guest_tree_fn run;
    const char *place;
} whole_forms[AGENT_TREE_FORMS] = {
    [TREE_EXPORT] = {send_export, GUEST_ROOT},
    [TREE_LAYER] = {send_layer, GUEST_UPPER},
    [TREE_CHANGES] = {send_changes, GUEST_UPPER},
};

static const struct whole_form *find_form(const char *name)
{
    for (size_t i = 0; i < AGENT_TREE_FORMS; i++)
        if (agent_tree_forms[i] && strcmp(agent_tree_forms[i], name) == 0)
            return &whole_forms[i];
    return NULL;
}

static int choose_tree(const struct agent_frame *f, const char *path, struct whole_form *ret,
                       struct error *err)
{
    const struct whole_form *form = NULL;
    if (f->type == AGENT_TREE_WHOLE && !(form = find_form(path)))
        return error_invalid(err, "there is no such form of a tree");
    if (form)
        *ret = *form;
    else
        *ret = (struct whole_form){f->type == AGENT_TREE_IN       ? tree_receive
                                   : f->type == AGENT_TREE_FOLLOW ? send_followed
                                                                  : send_plain,
                                   NULL};
    return 0;
}

static int on_tree(struct agent *a, const struct agent_frame *f, struct error *err)
{
    bool out = f->type != AGENT_TREE_IN;
    struct whole_form how = {NULL, NULL};
    const char *path;
    struct stream *s;
    int r = need_workload(a, err);
    if (r == 0)
        r = agent_get_string(f, &path, err);
    if (r == 0)
        r = choose_tree(f, path, &how, err);
    if (r == 0)
        r = stream_new(a, f->stream, &s, err);
    if (r < 0)
        return r;
    r = guest_spawn_tree(&a->guest, how.run, how.place, path, out, &s->pid, &s->fds[out ? 1 : 0],
                         &s->error_fd, err);
    if (r < 0)
        return r;
    s->kind = STREAM_TREE;
    s->tree_out = out;
    s->no_in = out;
    return 0;
}

static int on_data(struct agent *a, const struct agent_frame *f, struct error *err)
{
    uint8_t channel;
    const char *data;
    size_t len;
    struct stream *s = stream_find(a, f->stream);
    int r = agent_get_data(f, &channel, &data, &len, err);
    if (r < 0 || !s || channel != 0)
        return r; /* a stream that has just ended */
    if (s->no_in || s->close_in) {
        agent_must(agent_add_credit(&a->out, s->id, 0, (uint32_t)len));
        return 0;
    }
    r = buf_add(&s->in, data, len);
    return r < 0 ? error_errno(err, r, "more data than was allowed") : 0;
}

static int on_stream(struct agent *a, const struct agent_frame *f, struct error *err)
{
    uint8_t channel = 0;
    uint32_t value = 0, columns;
    struct stream *s = stream_find(a, f->stream);
    int r;
    if (f->type == AGENT_CLOSE) {
        r = agent_get_close(f, &channel, err);
        if (r == 0 && s && channel == 0)
            s->close_in = true;
        return r;
    }
    if (f->type == AGENT_CREDIT) {
        r = agent_get_credit(f, &channel, &value, err);
        if (r == 0 && s && channel > 0)
            s->credit[channel] = MIN(s->credit[channel] + value, AGENT_WINDOW);
        return r;
    }
    if (f->type == AGENT_RESIZE) {
        r = agent_get_resize(f, &value, &columns, err);
        struct terminal_size size = {(unsigned short)value, (unsigned short)columns};
        if (r == 0 && s && s->terminal && s->fds[1] >= 0)
            (void)!terminal_set_size(s->fds[1], size);
        return r;
    }
    r = agent_get_u32(f, &value, err);
    if (r == 0 && s && s->kind == STREAM_PROCESS && s->pid > 0 && value < 65)
        kill(s->pid, (int)value);
    return r;
}

static void on_shutdown(struct agent *a)
{
    guest_stop();
    agent_must(agent_frame_add(&a->out, AGENT_OK, 0, NULL, 0));
}

int agent_handle(struct agent *a, const struct agent_frame *f, struct error *err)
{
    struct agent_stats stats;
    uint32_t version;
    switch (f->type) {
    case AGENT_HELLO:
        return agent_get_u32(f, &version, err);
    case AGENT_CONFIGURE:
        return agent_configure(a, f, err);
    case AGENT_START:
        return on_start(a, f, err);
    case AGENT_REHEARSE:
        return agent_rehearse(a, f, err);
    case AGENT_PREPARE:
        return on_prepare(a, f, err);
    case AGENT_PROGRAM:
        return on_program(a, f, err);
    case AGENT_EXEC:
        return on_exec(a, f, err);
    case AGENT_TREE_OUT:
    case AGENT_TREE_FOLLOW:
    case AGENT_TREE_WHOLE:
    case AGENT_TREE_IN:
        return on_tree(a, f, err);
    case AGENT_DATA:
        return on_data(a, f, err);
    case AGENT_CLOSE:
    case AGENT_CREDIT:
    case AGENT_RESIZE:
    case AGENT_SIGNAL:
        return on_stream(a, f, err);
    case AGENT_SETTLE:
        return agent_settle(a, f, err);
    case AGENT_RESUME:
        return agent_resume(a, f, err);
    case AGENT_STATS:
        guest_stats(&stats);
        agent_must(agent_stats_add(&a->out, f->stream, &stats));
        return 0;
    case AGENT_PROCESSES: {
        _cleanup_free_ char *text = guest_processes(&a->guest);
        int r = agent_add_string(&a->out, AGENT_TEXT, f->stream, text);
        return r < 0 ? error_errno(err, r, "list the processes") : 0;
    }
    case AGENT_LIMITS:
        return on_limits(a, f, err);
    case AGENT_NETWORKS:
        return on_networks(a, f, err);
    case AGENT_NAMES:
        return on_names(a, f, err);
    case AGENT_SHUTDOWN:
        on_shutdown(a);
        return 0;
    default:
        return error_invalid(err, "message %d is not for the machine", (int)f->type);
    }
}
