#include "wire/disk/format.h"

#include <sys/ioctl.h>
#include <sys/stat.h>

#include <linux/fs.h>

#include "wire/disk/format-internal.h"

static const char *const names[DISK_FORMATS] = {
    [DISK_UNKNOWN] = "unknown", [DISK_RAW] = "raw",   [DISK_QCOW2] = "qcow2",
    [DISK_VMDK] = "vmdk",       [DISK_VHDX] = "vhdx",
};

const char *disk_format_name(enum disk_format f)
{
    return f < DISK_FORMATS ? names[f] : names[DISK_UNKNOWN];
}

enum disk_format disk_format_from_name(const char *name)
{
    for (enum disk_format f = DISK_RAW; f < DISK_FORMATS; f++)
        if (strcmp(name, names[f]) == 0)
            return f;
    return DISK_UNKNOWN;
}

static int read_fd(void *context, uint64_t offset, void *data, size_t len)
{
    int fd = *(const int *)context;
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, (char *)data + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        done += (size_t)n;
    }
    return 0;
}

int disk_reader_open(const int *fd, struct disk_reader *ret, struct error *err)
{
    struct stat st;
    uint64_t bytes = 0;
    if (fstat(*fd, &st) < 0)
        return error_errno(err, errno, "look at the disk image");
    if (S_ISREG(st.st_mode))
        bytes = (uint64_t)st.st_size;
    else if (!S_ISBLK(st.st_mode) || ioctl(*fd, BLKGETSIZE64, &bytes) < 0)
        return error_invalid(err, "the disk image is neither a regular file nor a block device");
    *ret = (struct disk_reader){.context = (void *)(uintptr_t)fd, .bytes = bytes, .read = read_fd};
    return 0;
}

int disk_read(const struct disk_reader *r, uint64_t offset, void *data, size_t len,
              struct error *err)
{
    if (offset > r->bytes || len > r->bytes - offset)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the disk image ends inside its headers");
    int e = r->read(r->context, offset, data, len);
    return e < 0 ? error_errno(err, e, "read the disk image") : 0;
}

int disk_format_guess(const struct disk_reader *r, enum disk_format *ret, struct error *err)
{
    static const struct {
        enum disk_format format;
        size_t at, len;
        const char *magic;
    } magics[] = {
        {DISK_QCOW2, 0, 4, "QFI\xfb"},
        {DISK_VMDK, 0, 4, "KDMV"},
        {DISK_VMDK, 0, 21, "# Disk DescriptorFile"},
        {DISK_VHDX, 0, 8, "vhdxfile"},
        /* Archives that a boot sector's mark might stand in by chance. */
        {DISK_UNKNOWN, 0, 2, "\x1f\x8b"},
        {DISK_UNKNOWN, 0, 4, "\x28\xb5\x2f\xfd"},
        {DISK_UNKNOWN, 0, 6,
         "\xfd"
         "7zXZ\0"},
        {DISK_UNKNOWN, 0, 3, "BZh"},
        {DISK_UNKNOWN, 257, 5, "ustar"},
        {DISK_RAW, 510, 2, "\x55\xaa"},
    };
    uint8_t head[DISK_SECTOR] = {0};
    size_t len = (size_t)MIN(r->bytes, (uint64_t)sizeof(head));
    int e = disk_read(r, 0, head, len, err);
    if (e < 0)
        return e;
    *ret = DISK_UNKNOWN;
    for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
        if (magics[i].at + magics[i].len <= len &&
            memcmp(head + magics[i].at, magics[i].magic, magics[i].len) == 0) {
            *ret = magics[i].format;
            return 0;
        }
    return 0;
}

static int check_raw(const struct disk_reader *r, uint64_t *ret, struct error *err)
{
    (void)err;
    *ret = r->bytes;
    return 0;
}

int disk_format_check(const struct disk_reader *r, enum disk_format f, uint64_t *ret_virtual_bytes,
                      struct error *err)
{
    static int (*const checks[DISK_FORMATS])(const struct disk_reader *, uint64_t *,
                                             struct error *) = {
        [DISK_RAW] = check_raw,
        [DISK_QCOW2] = disk_check_qcow2,
        [DISK_VMDK] = disk_check_vmdk,
        [DISK_VHDX] = disk_check_vhdx,
    };
    uint64_t bytes = 0;
    if (f >= DISK_FORMATS || !checks[f])
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "not a disk image that is known: raw, qcow2, vmdk or vhdx");
    int e = checks[f](r, &bytes, err);
    if (e < 0)
        return e;
    if (bytes == 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the disk has no bytes");
    if (bytes > DISK_MAX_BYTES)
        return error_set(err, ERROR_LIMIT, EFBIG, "the disk has %llu bytes, more than %llu TiB",
                         (unsigned long long)bytes, (unsigned long long)(DISK_MAX_BYTES >> 40));
    *ret_virtual_bytes = bytes;
    return 0;
}
