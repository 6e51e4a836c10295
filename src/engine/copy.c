/*
 * cp: a tar stream from one side to the other, whatever the kinds. The sending half runs in a child
 * process, the receiving half here (pipeline.c). Paths on either side are resolved beneath that
 * side's root only, by the tree functions; a running instance's side is handled by its runtime, a
 * stopped container's through its root assembled for this one copy.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "engine/engine-internal.h"
#include "engine/observe.h"
#include "engine/pipeline.h"
#include "kernel/tree.h"
#include "runtime/container/container.h"

struct side {
    bool stream; /* "-" */
    bool in_instance;
    struct subject subject;
    char *path;
    int root; /* host side: /; stopped instance: its root; -EBADF: the runtime does it */
};

struct copy {
    struct side from, to;
    bool follow;
};

static void side_done(struct side *s)
{
    if (s->in_instance)
        subject_done(&s->subject);
    free(s->path);
    s->root = close_fd(s->root);
}

static void copy_done(struct copy *c)
{
    side_done(&c->from);
    side_done(&c->to);
}

/* A host path made absolute, keeping a trailing "/" or "/.", which have a meaning. */
static int host_path(const char *text, char **ret, struct error *err)
{
    char here[4096];
    if (text[0] == '/') {
        *ret = xstrdup(text);
        return 0;
    }
    if (!getcwd(here, sizeof(here)))
        return error_errno(err, errno, "find the current directory");
    *ret = path_join(here, text);
    return 0;
}

/* Docker's rule: an instance is named before the first ":", unless the text starts with "/" or
 * ".". */
static const char *instance_part(const char *text)
{
    const char *colon = strchr(text, ':');
    if (!colon || colon == text || text[0] == '/' || text[0] == '.')
        return NULL;
    return colon;
}

static int open_stopped_root(struct engine *e, struct side *side, struct error *err)
{
    _cleanup_image_ struct image *image = NULL;
    _cleanup_strv_ char **mounts = NULL;
    _cleanup_(bundle_done) struct bundle b;
    struct subject *s = &side->subject;
    bundle_init(&b);
    int r = subject_needs_agent(s, err);
    if (r == 0)
        r = image_find(e->store, s->record.image_id, &image, err);
    if (r == 0)
        r = image_mount_layers(e->store, image, &mounts, err);
    if (r < 0)
        return r;
    b.layers = xcalloc(image->n_layers, sizeof(*b.layers));
    b.n_layers = image->n_layers;
    for (size_t i = 0; i < b.n_layers; i++)
        b.layers[i].mount = xstrdup(mounts[i]);
    b.upper = path_join(s->bundle, "upper");
    b.work = path_join(s->bundle, "work");
    return container_mount_root(&b, &side->root, err);
}

static int open_instance_side(struct engine *e, const char *text, const char *colon,
                              struct side *side, struct error *err)
{
    _cleanup_free_ char *reference = xstrndup(text, (size_t)(colon - text));
    side->subject = (struct subject)SUBJECT_INIT;
    side->in_instance = true;
    int r = subject_open(e, reference, SUBJECT_LOCKED, &side->subject, err);
    if (r < 0)
        return r;
    side->path = colon[1] == '/' ? xstrdup(colon + 1) : xasprintf("/%s", colon + 1);
    if (!side->subject.status.alive)
        return open_stopped_root(e, side, err);
    subject_unlock(&side->subject); /* a long copy must not hold up a stop */
    return 0;
}

static int open_side(struct engine *e, const char *text, struct side *side, struct error *err)
{
    const char *colon = instance_part(text);
    side->root = -EBADF;
    if (strcmp(text, "-") == 0) {
        side->stream = true;
        return 0;
    }
    if (colon)
        return open_instance_side(e, text, colon, side, err);
    side->root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (side->root < 0)
        return error_errno(err, errno, "open /");
    return host_path(text, &side->path, err);
}

static int send_side(void *context, int fd, struct error *err)
{
    struct copy *c = context;
    struct side *s = &c->from;
    if (s->stream) {
        int r = fd_copy(STDIN_FILENO, fd);
        return r < 0 ? error_errno(err, r, "read the archive on stdin") : 0;
    }
    if (s->root >= 0)
        return tree_send(s->root, s->path, c->follow, fd, err);
    return subject_ops(&s->subject)->copy_out(&s->subject.target, s->path, c->follow, fd, err);
}

static int receive_side(void *context, int fd, struct error *err)
{
    struct copy *c = context;
    struct side *s = &c->to;
    if (s->stream) {
        int r = fd_copy(fd, STDOUT_FILENO);
        return r < 0 ? error_errno(err, r, "write the archive to stdout") : 0;
    }
    if (s->root >= 0 && !s->in_instance) /* bytes of an instance's: nobody's setuid, no devices */
        return tree_receive_owned(s->root, s->path, c->from.path, fd, geteuid(), getegid(), err);
    if (s->root >= 0)
        return tree_receive(s->root, s->path, fd, err);
    return subject_ops(&s->subject)->copy_in(&s->subject.target, s->path, fd, err);
}

static bool ends_with(const char *s, const char *end)
{
    size_t a = strlen(s), b = strlen(end);
    return a >= b && strcmp(s + a - b, end) == 0;
}

/* "cp SRC/. DEST": DEST is made when it is not there. Only the host's side can be asked first; an
 * instance's runtime does the same within tree_receive. */
static int prepare_target(struct copy *c, struct error *err)
{
    struct stat st;
    if (c->to.stream || c->to.in_instance || !c->from.path || !ends_with(c->from.path, "/."))
        return 0;
    if (stat(c->to.path, &st) == 0)
        return S_ISDIR(st.st_mode)
                   ? 0
                   : error_set(err, ERROR_CONFLICT, ENOTDIR, "%s is no directory", c->to.path);
    return mkdir(c->to.path, 0755) < 0 ? error_errno(err, errno, "create %s", c->to.path) : 0;
}

int engine_copy(struct engine *e, const char *from, const char *to, bool follow, struct error *err)
{
    _cleanup_(copy_done) struct copy c = {.from.root = -EBADF, .to.root = -EBADF, .follow = follow};
    bool from_instance = instance_part(from) != NULL, to_instance = instance_part(to) != NULL;
    if (from_instance == to_instance)
        return error_invalid(err, from_instance ? "cp between two instances: copy to the host first"
                                                : "cp needs an instance on one side: NAME:/PATH");
    int r = open_side(e, from, &c.from, err);
    if (r == 0)
        r = open_side(e, to, &c.to, err);
    if (r == 0)
        r = prepare_target(&c, err);
    return r < 0 ? r : pipeline_run(send_side, receive_side, &c, err);
}
