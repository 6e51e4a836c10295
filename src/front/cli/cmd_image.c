/* Images: list, import, load, tag, remove, prune. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/system.h"
#include "front/cli/commands.h"
#include "front/cli/progress.h"
#include "front/cli/registry.h"
#include "front/cli/row.h"
#include "front/cli/session.h"
#include "service/image/disk.h"

/* --- images --- */

struct images_values {
    struct list_values list;
    bool all;
};
static const struct cli_option images_table[] = {
    LIST_OPTIONS(struct images_values),
    /* There are no intermediate images: accepted for Docker's scripts. */
    OPT_FLAG('a', "all", struct images_values, all, "Show all images"),
};

static const struct column images_columns[] = {
    {"REPOSITORY", "Repository", true, true},
    {"TAG", "Tag", true, true},
    {"IMAGE ID", "ID", true},
    {"CREATED", "CreatedSince", true},
    {"SIZE", "Size", true},
    {"KIND", "Kind", true},
    {"VIRTUAL SIZE", "VirtualSize", false},
    {"CREATED AT", "CreatedAt", false},
    {"PLATFORM", "Platform", false},
    {"LABELS", "Labels", false},
};
static const struct list_spec images_spec = {images_columns, ARRAY_SIZE(images_columns), "ID"};
static const char *const images_filters[] = {"reference", "label", "dangling", "kind", NULL};

/* "repository:tag" in two; the colon of a registry's port is not the tag's. */
static void split_name(const char *name, char **ret_repository, const char **ret_tag)
{
    const char *slash = strrchr(name, '/'), *colon = strrchr(name, ':');
    bool tagged = colon && (!slash || colon > slash);
    *ret_repository = tagged ? xstrndup(name, (size_t)(colon - name)) : xstrdup(name);
    *ret_tag = tagged ? colon + 1 : "<none>";
}

static bool image_matches(const struct image *image, const char *name, const char *filter)
{
    const char *w;
    if ((w = filter_value(filter, "label")))
        return label_matches(image->labels, w);
    if ((w = filter_value(filter, "dangling")))
        return (strcmp(w, "true") == 0) == (name == NULL);
    if ((w = filter_value(filter, "kind")))
        return strcmp(w, image_kind_name(image->kind)) == 0;
    w = filter_value(filter, "reference");
    size_t n = strlen(w);
    return name && strncmp(name, w, n) == 0 && (name[n] == '\0' || name[n] == ':');
}

static json_t *image_row(const struct image *image, const char *name, bool whole)
{
    json_t *row = json_object();
    _cleanup_free_ char *repository = NULL;
    const char *tag = "<none>";
    if (name)
        split_name(name, &repository, &tag);
    row_set(row, "Repository", repository ? repository : "<none>");
    row_set(row, "Tag", tag);
    row_set(row, "ID", short_id(image->id, whole).s);
    row_set_age(row, "CreatedSince", "CreatedAt", image->created_ns);
    row_set(row, "Size", format_size(image->bytes).s);
    row_set(row, "Kind", image_kind_name(image->kind));
    row_set(row, "VirtualSize", image->kind == IMAGE_DISK ? format_size(image->disk_bytes).s : "");
    row_setf(row, "Platform", "%s/%s", image->os ? image->os : "",
             image->architecture ? image->architecture : "");
    row_set_list(row, "Labels", image->labels);
    return row;
}

/* True when the row was added. */
static bool add_image(json_t *rows, const struct image *image, const char *name,
                      const struct images_values *v, const char *reference)
{
    for (size_t i = 0; v->list.filters && v->list.filters[i]; i++)
        if (!image_matches(image, name, v->list.filters[i]))
            return false;
    _cleanup_free_ char *filter = reference ? xasprintf("reference=%s", reference) : NULL;
    if (filter && !image_matches(image, name, filter))
        return false;
    json_array_append_new(rows, image_row(image, name, v->list.no_trunc));
    return true;
}

static int handle_images(struct cli *cli, void *values, char **args)
{
    const struct images_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct image **list;
    if (filters_check(v->list.filters, images_filters, &err) < 0 || cli_engine(cli, &e, &err) < 0 ||
        image_list(e->store, &list, &err) < 0)
        return cli_failed(&err);
    _cleanup_json_ json_t *rows = json_array();
    for (size_t i = 0; list[i]; i++) {
        size_t names = strv_len(list[i]->names);
        for (size_t n = 0; n < names; n++)
            if (add_image(rows, list[i], list[i]->names[n], v, args[0]) && v->list.quiet)
                break; /* an id is said once, however many names it has */
        if (names == 0)
            add_image(rows, list[i], NULL, v, args[0]);
    }
    image_list_free(list);
    return list_print(&images_spec, &v->list, rows, &err) < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_images = {
    .name = "images",
    .aliases = "image ls,image list",
    .usage = "[OPTIONS] [REPOSITORY[:TAG]]",
    .summary = "List images",
    .description = "Filters: reference, label, dangling, kind (application or disk).",
    .sets = {OPTION_SET(images_table)},
    .values_size = sizeof(struct images_values),
    .max_args = 1,
    .completes = COMPLETES_IMAGE,
    .section = SECTION_COMMON,
    .run = handle_images,
};

/* --- import, load --- */

/* "-" or an absent name is stdin. *ret_bytes is 0 when the size is not known. */
static int open_archive(const char *path, int *ret_fd, uint64_t *ret_bytes, struct error *err)
{
    struct stat st;
    bool is_stdin = !path || strcmp(path, "-") == 0;
    if (is_stdin && isatty(STDIN_FILENO))
        return error_invalid(err, "no archive is given: name a file, or redirect one to stdin");
    if (!is_stdin && (strncmp(path, "http://", 7) == 0 || strncmp(path, "https://", 8) == 0))
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "%s: only files can be imported; download it first", path);
    int fd = is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                      : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return error_errno(err, errno, "open %s", is_stdin ? "standard input" : path);
    bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    *ret_bytes = regular ? (uint64_t)st.st_size : 0;
    *ret_fd = fd;
    return 0;
}

struct import_values {
    char **changes;
    char *message, *architecture;
    bool disk, container;
};
static const struct cli_option import_table[] = {
    OPT_LIST('c', "change", struct import_values, changes, "list",
             "Apply a Dockerfile instruction (CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME, "
             "WORKDIR, STOPSIGNAL)"),
    OPT_STRING('m', "message", struct import_values, message, "string", "Set a history message"),
    OPT_FLAG(0, "disk", struct import_values, disk,
             "It is a disk image, raw when it does not look like another kind"),
    OPT_FLAG(0, "container-disk", struct import_values, container,
             "FILE is an image in the store that carries a disk (KubeVirt's containerDisk)"),
    OPT_STRING(0, "arch", struct import_values, architecture, "string",
               "The processor that a disk image is for (this host's)"),
};

static int open_carried(struct engine *e, const char *reference, int *ret_fd, struct error *err)
{
    _cleanup_image_ struct image *image = NULL;
    int r = image_find(e->store, reference, &image, err);
    return r < 0 ? r : disk_open_container(e->store, image, ret_fd, err);
}

static int import_archive(struct engine *e, const struct import_values *v, int fd, const char *name,
                          struct progress *bar, char **ret_id, struct error *err)
{
    const struct image_import how = {.fd = fd,
                                     .name = name,
                                     .message = v->message,
                                     .changes = v->changes,
                                     .progress = bar->active ? progress_update : NULL,
                                     .context = bar};
    if (v->architecture)
        return error_invalid(err, "--arch is for disk images");
    return image_import(e->store, &how, ret_id, err);
}

static int import_disk(struct engine *e, const struct import_values *v, int fd, const char *name,
                       struct progress *bar, char **ret_id, struct error *err)
{
    const struct disk_import how = {.fd = fd,
                                    .name = name,
                                    .architecture = v->architecture,
                                    .progress = bar->active ? progress_update : NULL,
                                    .context = bar};
    if (v->message || (v->changes && v->changes[0]))
        return error_invalid(err, "--message and --change are not for disk images");
    bar->total = 0; /* of the disk, not of the file */
    return disk_import(e->store, &how, ret_id, err);
}

static int handle_import(struct cli *cli, void *values, char **args)
{
    const struct import_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct progress bar;
    uint64_t total = 0;
    _cleanup_close_ int fd = -EBADF;
    _cleanup_free_ char *id = NULL;
    if ((!v->container && open_archive(args[0], &fd, &total, &err) < 0) ||
        cli_engine(cli, &e, &err) < 0 || (v->container && open_carried(e, args[0], &fd, &err) < 0))
        return cli_failed(&err);
    progress_begin(&bar, "Importing", total);
    int r = v->disk || v->container || disk_is_image(fd)
                ? import_disk(e, v, fd, args[1], &bar, &id, &err)
                : import_archive(e, v, fd, args[1], &bar, &id, &err);
    progress_end(&bar);
    if (r < 0)
        return cli_failed(&err);
    puts(id);
    return 0;
}

const struct command cmd_import = {
    .name = "import",
    .aliases = "image import",
    .usage = "[OPTIONS] FILE|- [REPOSITORY[:TAG]]",
    .summary = "Make an image of a root file system's tar archive, or of a disk image",
    .description = "A disk image may be qcow2, vmdk, vhdx or raw; it has to be whole in one file.",
    .sets = {OPTION_SET(import_table)},
    .values_size = sizeof(struct import_values),
    .min_args = 1,
    .max_args = 2,
    .completes = COMPLETES_FILE,
    .section = SECTION_OTHER,
    .run = handle_import,
};

struct load_values {
    char *input;
    bool quiet;
};
static const struct cli_option load_table[] = {
    OPT_NAMED(COMPLETES_FILE, 'i', "input", struct load_values, input, "string",
              "Read an archive, or a directory with an OCI layout, instead of stdin"),
    OPT_FLAG('q', "quiet", struct load_values, quiet, "Print nothing"),
};

static int handle_load(struct cli *cli, void *values, char **args)
{
    const struct load_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct stat st;
    uint64_t total;
    _cleanup_close_ int fd = -EBADF;
    _cleanup_strv_ char **names = NULL;
    (void)args;
    bool directory = v->input && stat(v->input, &st) == 0 && S_ISDIR(st.st_mode);
    if ((!directory && open_archive(v->input, &fd, &total, &err) < 0) ||
        cli_engine(cli, &e, &err) < 0 ||
        image_load(e->store, fd, directory ? v->input : NULL, &names, &err) < 0)
        return cli_failed(&err);
    for (size_t i = 0; !v->quiet && names && names[i]; i++)
        printf("Loaded image%s: %s\n", strncmp(names[i], "sha256:", 7) == 0 ? " ID" : "", names[i]);
    return 0;
}

const struct command cmd_load = {
    .name = "load",
    .aliases = "image load",
    .usage = "[OPTIONS]",
    .summary = "Load images from an archive of docker save or an OCI layout",
    .sets = {OPTION_SET(load_table)},
    .values_size = sizeof(struct load_values),
    .section = SECTION_OTHER,
    .run = handle_load,
};

/* --- tag, rmi, prune --- */

static int handle_tag(struct cli *cli, void *values, char **args)
{
    struct error err = ERROR_INIT;
    struct engine *e;
    (void)values;
    if (cli_engine(cli, &e, &err) < 0 || image_tag(e->store, args[0], args[1], &err) < 0)
        return cli_failed(&err);
    return 0;
}

const struct command cmd_tag = {
    .name = "tag",
    .aliases = "image tag",
    .usage = "IMAGE[:TAG] NEW_NAME[:TAG]",
    .summary = "Give an image one more name",
    .min_args = 2,
    .max_args = 2,
    .completes = COMPLETES_IMAGE,
    .section = SECTION_OTHER,
    .run = handle_tag,
};

struct rmi_values {
    struct registry_values registry;
    bool force, no_prune, remote;
};
static const struct cli_option rmi_table[] = {
    OPT_FLAG('f', "force", struct rmi_values, force, "Remove it with all its names"),
    OPT_FLAG(0, "no-prune", struct rmi_values, no_prune, NULL),
    OPT_FLAG(0, "remote", struct rmi_values, remote,
             "Remove it from its registry, with all its tags there, and not from here"),
    REGISTRY_OPTIONS(struct rmi_values),
};

static void rmi_init(void *values)
{
    registry_values_init(&((struct rmi_values *)values)->registry);
}

static int rmi_one(struct engine *e, const char *name, void *context, struct error *err)
{
    struct rmi_values *v = context;
    _cleanup_strv_ char **done = NULL;
    if (v->remote)
        return cli_remove_remote(&v->registry, name, err);
    int r = engine_image_remove(e, name, v->force, &done, err);
    for (size_t i = 0; r == 0 && done && done[i]; i++)
        puts(done[i]);
    return r;
}

static int handle_rmi(struct cli *cli, void *values, char **args)
{
    return cli_for_each(cli, args, false, rmi_one, values);
}

const struct command cmd_rmi = {
    .name = "rmi",
    .aliases = "image rm,image remove",
    .usage = "[OPTIONS] IMAGE [IMAGE...]",
    .summary = "Remove one or more images",
    .sets = {OPTION_SET(rmi_table)},
    .values_size = sizeof(struct rmi_values),
    .init = rmi_init,
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_IMAGE,
    .section = SECTION_OTHER,
    .run = handle_rmi,
};
