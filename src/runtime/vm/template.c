/* Templates as the machines see them: which one, taking it, going on from it, ordering it. */
#include "runtime/vm/template.h"

#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/fd_pass.h"
#include "base/path.h"
#include "base/process.h"
#include "base/program.h"
#include "base/sha256.h"
#include "base/strv.h"
#include "runtime/vm/control.h"

#define RESTORE_TIMEOUT_MS 20000
#define FORMAT             4 /* of what a template's process and its clones expect of each other */

void vm_template_done(struct vm_template *t)
{
    free(t->dir);
    t->dir = NULL;
}

/* Few shapes, so that few templates serve many images. */
size_t vm_template_slots(size_t layers, size_t others)
{
    static const size_t sizes[] = {4, 10};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
        if (layers <= sizes[i] && sizes[i] + others <= VM_DEVICES_MAX)
            return sizes[i];
    return 0;
}

/* A file that is replaced or written to is another one. */
static int add_file(struct sha256 *h, const char *path, struct error *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return error_errno(err, errno, "look at %s", path);
    sha256_add_text(h, path);
    sha256_add_u64(h, (uint64_t)st.st_dev);
    sha256_add_u64(h, (uint64_t)st.st_ino);
    sha256_add_u64(h, (uint64_t)st.st_size);
    sha256_add_u64(h, (uint64_t)st.st_mtim.tv_sec);
    sha256_add_u64(h, (uint64_t)st.st_mtim.tv_nsec);
    sha256_add_u64(h, (uint64_t)st.st_ctim.tv_sec);
    sha256_add_u64(h, (uint64_t)st.st_ctim.tv_nsec);
    return 0;
}

/* The command line of the template says the machine's whole shape. */
static void add_shape(struct sha256 *h, const struct vm_qemu *q)
{
    static const int no_ends[3] = {0};
    struct vm_qemu shape = *q;
    shape.role = VM_TEMPLATE;
    shape.ram_fd = 0;
    shape.disk_fd = -EBADF;
    memset(shape.tap_fds, 0, sizeof(shape.tap_fds));
    shape.n_lower = 0;
    _cleanup_strv_ char **argv = vm_qemu_argv(&shape, no_ends);
    for (char **a = argv; *a; a++)
        if (strncmp(*a, "virtio-net-device,", 18) != 0) /* the clone gives it its address */
            sha256_add_text(h, *a);
    sha256_add_u64(h, q->bundle->n_networks); /* the other cards are down */
    sha256_add_u64(h, q->disk_is_new);
}

static int add_layers(struct sha256 *h, const struct bundle *b, struct error *err)
{
    int r = 0;
    sha256_add_u64(h, b->n_layers);
    for (size_t i = 0; i < b->n_layers && r == 0; i++)
        r = add_file(h, b->layers[i].erofs, err);
    return r;
}

int vm_template_find(const char *run, const struct vm_qemu *q, bool image, struct vm_template *ret,
                     struct error *err)
{
    const char *const files[] = {VM_QEMU, q->bundle->kernel, q->bundle->initramfs};
    unsigned char digest[SHA256_SIZE];
    struct sha256 h;
    int r = 0;
    sha256_init(&h);
    sha256_add_text(&h, PROA_VERSION);
    sha256_add_u64(&h, FORMAT);
    for (size_t i = 0; i < ARRAY_SIZE(files) && r == 0; i++)
        r = add_file(&h, files[i], err);
    if (r == 0 && image)
        r = add_layers(&h, q->bundle, err);
    if (r < 0)
        return r;
    add_shape(&h, q);
    sha256_end(&h, digest);
    ret->image = image;
    for (size_t i = 0; i < (VM_TEMPLATE_KEY - 1) / 2; i++)
        snprintf(ret->key + 2 * i, 3, "%02x", digest[i]);
    ret->dir = xasprintf("%s/templates/%s", run, ret->key);
    return 0;
}

static int open_again(int fd)
{
    int again = open(fd_path(fd).text, O_RDONLY | O_CLOEXEC); /* a position of its own */
    return again < 0 ? -errno : again;
}

int vm_template_take(const struct vm_template *t, struct vm_qemu *q, int *ret_disk)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fds[FD_PASS_MAX];
    char byte;
    int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", t->dir);
    if (n < 0 || (size_t)n >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return errno == ECONNREFUSED ? -ENOENT : -errno;
    ssize_t n_bytes = fd_take(fd, &byte, 1, fds);
    _cleanup_close_ int memory = n_bytes == 1 ? fds[TEMPLATE_MEMORY] : -EBADF,
                        shared_state = n_bytes == 1 ? fds[TEMPLATE_STATE] : -EBADF,
                        shared_disk = n_bytes == 1 ? fds[TEMPLATE_DISK] : -EBADF;
    _cleanup_close_ int state = open_again(shared_state),
                        disk = shared_disk < 0 ? -EBADF : open_again(shared_disk);
    if (memory < 0 || state < 0 || (disk < 0) != !q->disk_is_new)
        return -ENOENT;
    q->role = VM_CLONE;
    q->ram_fd = TAKE_FD(memory);
    q->state_fd = TAKE_FD(state);
    *ret_disk = TAKE_FD(disk);
    return 0;
}

/* QEMU's own words say more than that it has ended. */
static int explain(const struct vm_qemu *q, int r, struct error *err)
{
    char text[300];
    ssize_t n = read(q->stderr_fd, text, sizeof(text) - 1);
    text[MAX(n, (ssize_t)0)] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return *text ? error_set(err, ERROR_SYSTEM, -r, "go on from the template: %s", text)
                 : error_prefix(err, "go on from the template");
}

int vm_template_restore(const struct vm_qemu *q, struct error *err)
{
    struct vm_control c;
    char uri[48];
    snprintf(uri, sizeof(uri), "{\"uri\":\"fd:%d\"}", q->state_fd);
    vm_control_init(&c, q->qmp_fd, RESTORE_TIMEOUT_MS);
    int r = vm_control_send(&c, "qmp_capabilities", NULL, err);
    if (r == 0)
        r = vm_control_send(&c, "migrate-set-capabilities", VM_CONTROL_MIGRATION, err);
    /* It would tell the network of the template's address. */
    if (r == 0)
        r = vm_control_send(&c, "migrate-set-parameters", "{\"announce-rounds\":0}", err);
    if (r == 0)
        r = vm_control_send(&c, "migrate-incoming", uri, err);
    if (r == 0)
        r = vm_control_migrated(&c, err);
    if (r == 0)
        r = vm_control_send(&c, "cont", NULL, err);
    if (r == 0)
        r = vm_control_answered(&c, err);
    vm_control_done(&c);
    return r < 0 ? explain(q, r, err) : 0;
}

bool vm_template_is_ordered(const char *dir)
{
    _cleanup_free_ char *lock = path_join(dir, "lock"), *failed = path_join(dir, "failed");
    if (access(failed, F_OK) == 0)
        return true;
    _cleanup_close_ int fd = open(lock, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0;
}

static char **maker_argv(const struct vm_template *t, const struct vm_qemu *q)
{
    const struct bundle *b = q->bundle;
    char **argv = NULL;
    strv_add(&argv, "proa-template");
    strv_addf(&argv, "--dir=%s", t->dir);
    strv_addf(&argv, "--kernel=%s", b->kernel);
    strv_addf(&argv, "--initramfs=%s", b->initramfs);
    strv_addf(&argv, "--memory=%llu", (unsigned long long)b->memory_bytes);
    strv_addf(&argv, "--cpus=%u", b->cpus);
    strv_addf(&argv, "--layers=%zu", q->layer_slots);
    if (b->disk)
        strv_addf(&argv, "--disk=%llu", (unsigned long long)b->disk_bytes);
    if (q->disk_is_new)
        strv_add(&argv, "--new-disk");
    if (b->kernel_args)
        strv_addf(&argv, "--kernel-args=%s", b->kernel_args);
    strv_addf(&argv, "--networks=%zu", b->n_networks);
    strv_addf(&argv, "--cards=%zu", q->n_cards);
    for (size_t i = 0; t->image && i < b->n_layers; i++)
        strv_addf(&argv, "--layer=%s", b->layers[i].erofs);
    if (t->image && q->process && q->process->args && q->process->args[0]) {
        const char *path = env_get(q->process->env, "PATH");
        strv_addf(&argv, "--program=%s\n%s", q->process->args[0], path ? path : "");
    }
    return argv;
}

/* By a child that ends at once, so that the maker is nobody's here. */
static int start_maker(const char *program, char *const *argv, int wait_fd, struct error *err)
{
    int status;
    pid_t child = fork();
    if (child < 0)
        return error_errno(err, errno, "start %s", program);
    if (child == 0) {
        struct process_fd fds[] = {{wait_fd, 3}};
        struct process_spec spec = {
            .path = program, .argv = argv, .fds = fds, .n_fds = 1, .new_session = true};
        pid_t pid;
        _exit(process_start(&spec, &pid, NULL) < 0);
    }
    int r = process_wait(child, &status);
    if (r < 0 || status != 0)
        return error_set(err, ERROR_SYSTEM, EIO, "%s could not be started", program);
    return 0;
}

int vm_template_order(const struct vm_template *t, const struct vm_qemu *q, int *ret_hold,
                      struct error *err)
{
    _cleanup_free_ char *program = NULL;
    int hold[2];
    *ret_hold = -EBADF;
    if (vm_template_is_ordered(t->dir))
        return 0;
    int r = program_find("proa-template", &program, err);
    if (r < 0)
        return r;
    if (pipe2(hold, O_CLOEXEC) < 0)
        return error_errno(err, errno, "start %s", program);
    _cleanup_strv_ char **argv = maker_argv(t, q);
    r = start_maker(program, argv, hold[0], err);
    close(hold[0]);
    if (r < 0)
        close(hold[1]);
    else
        *ret_hold = hold[1];
    return r;
}
