/*
 * A machine that boots a disk has a system of its own: what `run` says about processes, files and
 * users inside is not Proa's to arrange there, and is refused (kinds.c).
 *
 * At each start its bundle gets the maps of its disks anew (service/image/disk.h), and the monitor
 * holds the packs: while they are held nothing in them goes away, whatever happens to the image, so
 * a restart by the monitor finds what the start found.
 */
#include "engine/disk-machine.h"

#include "engine/cloud.h"

#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/machine-disks.h"
#include "engine/spec-security.h"
#include "service/image/disk.h"

#define MEMORY_DEFAULT ((uint64_t)1 << 30)
#define STOP_TIMEOUT_S 60 /* a whole system shuts its services down */
#define BOOT_CODE      446u

static bool any(char *const *v)
{
    return v && v[0];
}

/* Only what is a word of the list. */
static int check_word(const char *flag, const char *value, const char *words, struct error *err)
{
    _cleanup_strv_ char **list = strv_split(words, ',');
    return !value || strv_has(list, value)
               ? 0
               : error_invalid(err, "%s \"%.60s\": one of %s", flag, value, words);
}

static int check_words(const struct create_options *o, struct error *err)
{
    const struct {
        const char *flag, *value, *words;
    } table[] = {
        {"--firmware", o->firmware, "bios,uefi"}, {"--rtc", o->rtc, "utc,localtime"},
        {"--graphics", o->graphics, "none,vnc"},  {"--os", o->os, "linux,windows,other"},
        {"--nic", o->nic, "virtio,e1000e"},       {"--disk-bus", o->disk_bus, "virtio,scsi,sata"},
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(table); i++)
        r = check_word(table[i].flag, table[i].value, table[i].words, err);
    return r;
}

static int check_boot(const struct create_options *o, struct error *err)
{
    _cleanup_strv_ char **words = strv_split(o->boot ? o->boot : "disk", ',');
    for (size_t i = 0; words[i]; i++) {
        int r = check_word("--boot", words[i], "disk,cdrom,network", err);
        for (size_t k = 0; r == 0 && k < i; k++)
            if (strcmp(words[k], words[i]) == 0)
                r = error_invalid(err, "--boot \"%.60s\": %s stands twice", o->boot, words[i]);
        if (r == 0 && strcmp(words[i], "cdrom") == 0 && !any(o->cdroms))
            r = error_invalid(err, "--boot cdrom: there is none (--cdrom FILE)");
        if (r < 0)
            return r;
    }
    return words[0] ? 0 : error_invalid(err, "--boot: disk, cdrom and network, in their order");
}

/* QEMU's own words: a name, and features that are switched on or off. */
static int check_cpu(const struct create_options *o, struct error *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.,+=";
    uint32_t cpus = o->cpus_milli ? (uint32_t)((o->cpus_milli + 999) / 1000) : 1;
    uint64_t memory = o->memory_bytes ? o->memory_bytes : MEMORY_DEFAULT;
    if (o->cpu_model && (!*o->cpu_model || strlen(o->cpu_model) > 200 ||
                         strspn(o->cpu_model, allowed) != strlen(o->cpu_model)))
        return error_invalid(err, "--cpu \"%.60s\" is no name of a processor", o->cpu_model);
    if (o->cpus_max && (o->cpus_max < cpus || o->cpus_max > 255))
        return error_invalid(err, "--max-cpus: from what --cpus says (%u) to 255", cpus);
    if (o->memory_max && (o->memory_max < memory || o->memory_max > DISK_MACHINE_MAX_BYTES))
        return error_invalid(err, "--max-memory: from what --memory says (%s) to 16 TiB",
                             format_size_binary(memory).s);
    return 0;
}

static int check_size(const struct create_options *o, const struct image *disk, struct error *err)
{
    if (strcmp(disk->architecture, "amd64") != 0)
        return error_set(err, ERROR_UNSUPPORTED, ENOEXEC,
                         "the disk %s is for %s, machines are amd64", o->image, disk->architecture);
    if (o->disk_bytes && o->disk_bytes < disk->disk_bytes)
        return error_invalid(err, "--disk-size: the disk has %s, and can only grow",
                             format_size(disk->disk_bytes).s);
    if (o->disk_bytes > DISK_MACHINE_MAX_BYTES)
        return error_invalid(err, "--disk-size: the maximum is 16 TiB");
    if (o->disk_bytes % 512)
        return error_invalid(err, "--disk-size: not a multiple of 512 bytes");
    return 0;
}

/* BIOS, unless the disk has no code that a BIOS could start: then nothing but UEFI boots it. A disk
 * of zeros is to be installed on, and then either does. */
static int choose_firmware(struct engine *e, struct create_options *o, const struct image *disk,
                           struct error *err)
{
    static const uint8_t none[BOOT_CODE];
    uint8_t start[512];
    if (o->secure_boot && o->firmware && strcmp(o->firmware, "uefi") != 0)
        return error_invalid(err, "--secure-boot needs --firmware uefi");
    if (o->firmware)
        return 0;
    int r = disk_read_start(e->store, disk->id, start, sizeof(start), err);
    if (r < 0)
        return r;
    bool marked = start[510] == 0x55 && start[511] == 0xaa;
    bool uefi = o->secure_boot || (marked && memcmp(start, none, BOOT_CODE) == 0);
    o->firmware = xstrdup(uefi ? "uefi" : "bios");
    return 0;
}

static void set_defaults(struct create_options *o)
{
    bool windows = o->os && strcmp(o->os, "windows") == 0;
    o->kind = RUNTIME_VM;
    /* Its stdio is its serial console, which is there whether somebody sits at it or not. */
    o->terminal = o->open_stdin = true;
    if (o->stop_timeout_s < 0)
        o->stop_timeout_s = STOP_TIMEOUT_S;
    /* What Windows has drivers for, and the clock that it expects. */
    if (windows && !o->rtc)
        o->rtc = xstrdup("localtime");
    if (windows && !o->nic)
        o->nic = xstrdup("e1000e");
    if (windows && !o->disk_bus)
        o->disk_bus = xstrdup("sata");
}

int disk_machine_complete(struct engine *e, struct create_options *o, const struct image *disk,
                          struct error *err)
{
    int r;
    if ((r = check_words(o, err)) < 0 || (r = check_boot(o, err)) < 0 ||
        (r = check_cpu(o, err)) < 0 || (r = check_size(o, disk, err)) < 0 ||
        (r = machine_disks_resolve(e, o, err)) < 0 || (r = cloud_complete(o, err)) < 0 ||
        (r = choose_firmware(e, o, disk, err)) < 0)
        return r;
    set_defaults(o);
    return 0;
}

void held_fds_done(struct held_fds *h)
{
    for (size_t i = 0; i < h->n; i++)
        close_fd(h->fds[i]);
    free(h->fds);
    *h = (struct held_fds){0};
}

void held_fds_add(struct held_fds *h, int *fd)
{
    h->fds = xreallocarray(h->fds, h->n + 1, sizeof(*h->fds));
    h->fds[h->n++] = TAKE_FD(*fd);
}

/* The disk that the machine was made of. */
static int add_root(struct engine *e, const struct subject *s, const struct image *disk,
                    struct bundle_machine *m, struct held_fds *held, struct error *err)
{
    struct machine_disk *d = bundle_machine_add_disk(m);
    _cleanup_free_ char *stem = path_join(s->bundle, "disk0");
    int r = machine_disk_add_parts(e, disk->id, stem, d, held, err);
    d->format = xstrdup("qcow2");
    d->bytes = MAX(d->bytes, s->options.disk_bytes);
    if (s->options.disk_bus && machine_bus_from_name(s->options.disk_bus, &d->bus) < 0)
        d->bus = MACHINE_VIRTIO;
    return r;
}

/* Without an order: the disk, and what it is installed from when nothing is on it. */
static void set_boot_order(const struct create_options *o, struct bundle_machine *m)
{
    _cleanup_strv_ char **words = strv_split(o->boot ? o->boot : "disk,cdrom", ',');
    uint32_t place = 1;
    for (size_t i = 0; words[i]; i++) {
        if (strcmp(words[i], "disk") == 0)
            m->disks[0].boot = place++;
        if (strcmp(words[i], "network") == 0)
            m->boot_net = place++;
        for (size_t k = 0; strcmp(words[i], "cdrom") == 0 && k < m->n_disks; k++)
            if (m->disks[k].cdrom)
                m->disks[k].boot = place++;
    }
}

static bool is(const char *value, const char *word)
{
    return value && strcmp(value, word) == 0;
}

int disk_machine_describe(struct engine *e, const struct subject *s, const struct image *disk,
                          struct bundle *b, struct held_fds *held, struct error *err)
{
    const struct create_options *o = &s->options;
    struct bundle_machine *m = &b->machine;
    b->memory_bytes = o->memory_bytes ? o->memory_bytes : MEMORY_DEFAULT;
    b->cpus = o->cpus_milli ? (uint32_t)((o->cpus_milli + 999) / 1000) : 1;
    b->ephemeral = s->record.auto_remove;
    m->uefi = is(o->firmware, "uefi");
    m->secure_boot = o->secure_boot;
    m->tpm = o->tpm;
    m->vnc = is(o->graphics, "vnc");
    m->windows = is(o->os, "windows");
    m->local_time = is(o->rtc, "localtime");
    m->cpu_model = o->cpu_model ? xstrdup(o->cpu_model) : NULL;
    m->nic = o->nic ? xasprintf("%s%s", o->nic, is(o->nic, "virtio") ? "-net-pci" : "") : NULL;
    m->processors = xstrdup(o->cpuset);
    m->limits = spec_limits_text(o);
    m->cpus_max = o->cpus_max;
    m->memory_max = o->memory_max;
    b->memory = machine_memory(s);
    int r = add_root(e, s, disk, m, held, err);
    if (r == 0)
        r = machine_chain(e, s, 0, &m->disks[0].file, &m->disks[0].lower, err);
    if (r == 0)
        r = machine_disks_describe(e, s, m, held, err);
    if (r == 0)
        r = cloud_describe(s, b, err);
    if (r == 0)
        set_boot_order(o, m);
    return r;
}
