#include "engine/machine-disks.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/image/disk.h"

void disk_spec_done(struct disk_spec *s)
{
    free(s->source);
    free(s->format);
    memset(s, 0, sizeof(*s));
}

bool disk_spec_is_file(const struct disk_spec *s)
{
    return s->source && (s->source[0] == '/' || s->source[0] == '.');
}

/* What is written to it is Proa's to keep. */
static bool is_own(const struct disk_spec *s)
{
    return !s->read_only && !disk_spec_is_file(s);
}

static int parse_word(const char *word, bool first, struct disk_spec *s)
{
    const char *equals = strchr(word, '='), *value = equals ? equals + 1 : "";
    size_t len = equals ? (size_t)(equals - word) : strlen(word);
    if (!equals && (strcmp(word, "readonly") == 0 || strcmp(word, "ro") == 0)) {
        s->read_only = true;
        return 0;
    }
    if (!equals && first && *word) {
        s->source = xstrdup(word);
        return 0;
    }
    if (len == 4 && strncmp(word, "size", 4) == 0)
        return parse_size(value, &s->bytes);
    if (len == 3 && strncmp(word, "bus", 3) == 0) {
        s->has_bus = true;
        return machine_bus_from_name(value, &s->bus);
    }
    if (len == 6 && strncmp(word, "format", 6) == 0) {
        xreplace(&s->format, value);
        return strcmp(value, "raw") == 0 || strcmp(value, "qcow2") == 0 ? 0 : -EINVAL;
    }
    return -EINVAL;
}

static int check_spec(const char *text, const struct disk_spec *s, struct error *err)
{
    bool file = disk_spec_is_file(s);
    if (!s->source && s->bytes == 0)
        return error_invalid(err, "--disk \"%.100s\": an empty disk needs a size (size=10g)", text);
    if (!s->source && s->read_only)
        return error_invalid(err, "--disk \"%.100s\": an empty disk that is read-only is of no use",
                             text);
    if (file && s->bytes)
        return error_invalid(err, "--disk \"%.100s\": a file has its own size", text);
    if (!file && s->format)
        return error_invalid(err, "--disk \"%.100s\": format is for files", text);
    if (s->bytes % 512 || s->bytes > DISK_MACHINE_MAX_BYTES)
        return error_invalid(err, "--disk \"%.100s\": a multiple of 512 bytes, at most 16 TiB",
                             text);
    return 0;
}

int disk_spec_parse(const char *text, struct disk_spec *ret, struct error *err)
{
    _cleanup_(disk_spec_done) struct disk_spec s = {0};
    _cleanup_strv_ char **words = strv_split(text, ',');
    for (size_t i = 0; words[i]; i++)
        if (parse_word(words[i], i == 0, &s) < 0)
            return error_invalid(err,
                                 "--disk \"%.100s\": \"%.60s\" is none of size=SIZE, readonly, "
                                 "bus=virtio|scsi|sata, format=raw|qcow2",
                                 text, words[i]);
    int r = check_spec(text, &s, err);
    if (r < 0)
        return r;
    *ret = s;
    memset(&s, 0, sizeof(s));
    return 0;
}

int machine_own_disks(const struct create_options *o, uint32_t *ret, char ***ret_others,
                      struct error *err)
{
    _cleanup_strv_ char **others = strv_copy(NULL);
    uint32_t own = 1;
    for (size_t i = 0; o->disks && o->disks[i]; i++) {
        _cleanup_(disk_spec_done) struct disk_spec s = {0};
        int r = disk_spec_parse(o->disks[i], &s, err);
        if (r < 0)
            return r;
        if (is_own(&s))
            own |= 2u << i;
        else if (!s.read_only)
            strv_add(&others, s.source);
    }
    *ret = own;
    *ret_others = TAKE_PTR(others);
    return 0;
}

static char *spec_text(const struct disk_spec *s)
{
    _cleanup_strv_ char **words = NULL;
    if (s->source)
        strv_add(&words, s->source);
    if (s->bytes)
        strv_addf(&words, "size=%llu", (unsigned long long)s->bytes);
    if (s->read_only)
        strv_add(&words, "readonly");
    if (s->has_bus)
        strv_addf(&words, "bus=%s", machine_bus_name(s->bus));
    if (s->format)
        strv_addf(&words, "format=%s", s->format);
    return strv_join(words, ",");
}

/* A format that is believed once is told to QEMU ever after: what a guest writes into a raw disk
 * cannot make it another. */
static int resolve_file(struct disk_spec *s, struct error *err)
{
    _cleanup_free_ char *format = NULL, *path = realpath(s->source, NULL);
    uint64_t bytes;
    struct stat st;
    _cleanup_close_ int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -EBADF;
    if (!path || fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, errno, "disk %s", s->source);
    if (strchr(path, ','))
        return error_invalid(err, "disk %s: its path has a comma", path);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return error_invalid(err, "disk %s is neither a file nor a block device", path);
    int r = disk_check_file(fd, s->format, &format, &bytes, err);
    if (r < 0)
        return error_prefix(err, "disk %s", path);
    if (strcmp(format, "raw") != 0 && strcmp(format, "qcow2") != 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "disk %s is %s, which a machine cannot write in place: import it", path,
                         format);
    xreplace(&s->source, path);
    xreplace(&s->format, format);
    return 0;
}

static int resolve_name(struct engine *e, struct disk_spec *s, struct error *err)
{
    _cleanup_image_ struct image *image = NULL;
    int r = image_find(e->store, s->source, &image, err);
    if (r == 0)
        r = image_need_kind(image, IMAGE_DISK, err);
    if (r < 0)
        return r;
    if (s->bytes && s->bytes < image->disk_bytes)
        return error_invalid(err, "--disk: %s has %s, and can only grow", s->source,
                             format_size(image->disk_bytes).s);
    xreplace(&s->source, image->id);
    return 0;
}

static int resolve_cdrom(char **path, struct error *err)
{
    struct stat st;
    char *full = realpath(*path, NULL);
    if (!full || stat(full, &st) < 0 || access(full, R_OK) < 0)
        return error_errno(err, errno, "--cdrom %s", *path);
    free(*path);
    *path = full;
    return S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)
               ? 0
               : error_invalid(err, "--cdrom %s: neither a file nor a block device", full);
}

int machine_disks_resolve(struct engine *e, struct create_options *o, struct error *err)
{
    int r = 0;
    if (strv_len(o->disks) + strv_len(o->cdroms) + 2 > MACHINE_DISKS_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG, "a machine has at most %u disks and CD-ROMs",
                         MACHINE_DISKS_MAX);
    for (size_t i = 0; r == 0 && o->disks && o->disks[i]; i++) {
        _cleanup_(disk_spec_done) struct disk_spec s = {0};
        r = disk_spec_parse(o->disks[i], &s, err);
        if (r == 0 && s.source)
            r = disk_spec_is_file(&s) ? resolve_file(&s, err) : resolve_name(e, &s, err);
        if (r == 0) {
            free(o->disks[i]);
            o->disks[i] = spec_text(&s);
        }
    }
    for (size_t i = 0; r == 0 && o->cdroms && o->cdroms[i]; i++)
        r = resolve_cdrom(&o->cdroms[i], err);
    return r;
}

static int write_map(int map_fd, const char *path, struct error *err)
{
    _cleanup_close_ int fd =
        open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = fd < 0 || lseek(map_fd, 0, SEEK_SET) < 0 ? -errno : fd_copy(map_fd, fd);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

int machine_disk_add_parts(struct engine *e, const char *image_id, const char *stem,
                           struct machine_disk *d, struct held_fds *held, struct error *err)
{
    struct disk_parts parts;
    int r = disk_open(e->store, image_id, &parts, err);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < parts.n; i++) {
        if (!parts.parts[i].path) /* nothing but zeros */
            continue;
        struct machine_part *p = machine_disk_add_part(d);
        p->pack = xstrdup(parts.parts[i].path);
        if (parts.parts[i].map_fd >= 0) {
            p->map = xasprintf("%s.map%zu", stem, i);
            r = write_map(parts.parts[i].map_fd, p->map, err);
        }
        held_fds_add(held, &parts.parts[i].pack_fd);
    }
    d->bytes = parts.virtual_bytes;
    disk_parts_done(&parts);
    return r;
}

static int describe_disk(struct engine *e, const struct subject *s, const char *text,
                         struct bundle_machine *m, struct held_fds *held, struct error *err)
{
    _cleanup_(disk_spec_done) struct disk_spec spec = {0};
    int r = disk_spec_parse(text, &spec, err);
    if (r < 0)
        return r;
    struct machine_disk *d = bundle_machine_add_disk(m);
    unsigned int number = m->n_disks - 1;
    _cleanup_free_ char *stem = xasprintf("%s/disk%u", s->bundle, number);
    d->bus = spec.has_bus ? spec.bus : m->disks[0].bus;
    d->read_only = spec.read_only;
    if (disk_spec_is_file(&spec)) {
        d->file = TAKE_PTR(spec.source);
        d->format = TAKE_PTR(spec.format);
        return 0;
    }
    if (spec.source)
        r = machine_disk_add_parts(e, spec.source, stem, d, held, err);
    d->bytes = MAX(d->bytes, spec.bytes);
    if (r == 0 && is_own(&spec))
        r = machine_chain(e, s, number, &d->file, &d->lower, err);
    else if (spec.bytes || d->n_parts == 0) /* one with contents that is not grown needs none */
        d->file = xasprintf("%s.qcow2", stem);
    d->format = d->file ? xstrdup("qcow2") : NULL;
    return r;
}

int machine_disks_describe(struct engine *e, const struct subject *s, struct bundle_machine *m,
                           struct held_fds *held, struct error *err)
{
    const struct create_options *o = &s->options;
    int r = 0;
    for (size_t i = 0; r == 0 && o->disks && o->disks[i]; i++)
        r = describe_disk(e, s, o->disks[i], m, held, err);
    for (size_t i = 0; r == 0 && o->cdroms && o->cdroms[i]; i++) {
        struct machine_disk *d = bundle_machine_add_disk(m);
        d->file = xstrdup(o->cdroms[i]);
        d->format = xstrdup("raw");
        d->read_only = d->cdrom = true;
        d->bus = MACHINE_SATA;
    }
    return r;
}
