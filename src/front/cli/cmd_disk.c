/* Disk images: export, and import for run. (`import` is cmd_image.c's, which takes archives, too.)
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "front/cli/commands.h"
#include "front/cli/progress.h"
#include "front/cli/registry.h"
#include "front/cli/session.h"
#include "service/image/disk.h"

bool cli_is_path(const char *image)
{
    return image[0] == '/' || strncmp(image, "./", 2) == 0 || strncmp(image, "../", 3) == 0;
}

int cli_import_for_run(struct engine *e, char **image, struct error *err)
{
    struct progress bar;
    char *id = NULL;
    _cleanup_close_ int fd = open(*image, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_errno(err, errno, "open %s", *image);
    if (!disk_is_image(fd))
        return error_invalid(err, "%s is no disk image that can be booted", *image);
    progress_begin(&bar, "Importing", 0);
    const struct disk_import how = {
        .fd = fd, .progress = bar.active ? progress_update : NULL, .context = &bar};
    int r = disk_import(e->store, &how, &id, err);
    progress_end(&bar);
    if (r < 0)
        return error_prefix(err, "%s", *image);
    free(*image);
    *image = id;
    return 0;
}

struct export_values {
    char *format;
};
static const struct cli_option export_table[] = {
    OPT_STRING('f', "format", struct export_values, format, "string",
               "raw (the default), qcow2, vmdk or vhdx; else as the file's name ends"),
};

static const char *const formats[] = {"raw", "qcow2", "vmdk", "vhdx"};

/* What was asked for, or what the file's name says. */
static int choose_format(const char *asked, const char *path, const char **ret, struct error *err)
{
    const char *dot = strrchr(path, '.');
    *ret = formats[0];
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        if (strcmp(asked ? asked : dot ? dot + 1 : "", formats[i]) == 0) {
            *ret = formats[i];
            return 0;
        }
    return asked ? error_invalid(err, "--format is raw, qcow2, vmdk or vhdx, not \"%.40s\"", asked)
                 : 0;
}

/* The file appears under its name when it is complete. */
static int export_to(struct engine *e, const struct image *image, const char *path,
                     const char *format, struct error *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return error_invalid(err, "%s is no regular file", path);
    _cleanup_free_ char *other = xasprintf("%s.%d.unfinished", path, (int)getpid());
    _cleanup_close_ int fd = open(other, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, errno, "create %s", other);
    int r = disk_export(e->store, image->id, fd, format, err);
    if (r == 0 && rename(other, path) < 0)
        r = error_errno(err, errno, "create %s", path);
    if (r < 0)
        unlink(other);
    return r;
}

static int handle_export(struct cli *cli, void *values, char **args)
{
    const struct export_values *v = values;
    const char *format;
    struct error err = ERROR_INIT;
    struct engine *e;
    _cleanup_image_ struct image *image = NULL;
    if (choose_format(v->format, args[1], &format, &err) < 0 || cli_engine(cli, &e, &err) < 0 ||
        image_find(e->store, args[0], &image, &err) < 0 ||
        image_need_kind(image, IMAGE_DISK, &err) < 0 ||
        export_to(e, image, args[1], format, &err) < 0)
        return cli_failed(&err);
    return 0;
}

const struct command cmd_image_export = {
    .name = "image export",
    .usage = "[OPTIONS] IMAGE FILE",
    .summary = "Write a disk image into a file",
    .description = "Application images are written by `proa save`.",
    .sets = {OPTION_SET(export_table)},
    .values_size = sizeof(struct export_values),
    .min_args = 2,
    .max_args = 2,
    .completes = COMPLETES_IMAGE,
    .section = SECTION_GROUPED,
    .run = handle_export,
};
