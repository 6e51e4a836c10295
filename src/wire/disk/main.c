/*
 * proa-disk: everything that reads disk images, without privilege.
 *
 *   proa-disk check [--format FORMAT]
 *       an image on stdin (a regular file or a block device); reads its headers (format.h) and
 *       prints {"format","virtual_bytes"}; without FORMAT by its first bytes
 *   proa-disk cut --bytes N [--out FD] [--packed FD] [--progress]
 *       a raw disk on stdin, copied into FD without its zeros; prints its chunks (disk.h); with
 *       --packed each goes there as a zstd frame
 *   proa-disk unpack --out FD
 *       frames on stdin, into their places of a raw disk; which, is said on descriptor 4 as cut
 *       prints it
 *   proa-disk merge --layers N [--raw]
 *       overlays on descriptors 5 and upwards, the lowest first, on a raw disk (stdin) or on
 * nothing of ours, as one, into 4; prints {"virtual_bytes"} proa-disk convert --format FORMAT --to
 * FORMAT --bytes N --uid UID becomes qemu-img in its sandbox (confine.h): from descriptor 3, owned
 * by UID, into 4
 *
 * Progress is lines of bare numbers on stdout before the JSON line: bytes of the disk done. An
 * error is one line on stderr, "KIND MESSAGE", KIND being a word of error_kind_name().
 */
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "wire/confine/compute.h"
#include "wire/disk/confine.h"
#include "wire/disk/cut.h"
#include "wire/disk/format.h"
#include "wire/disk/merge.h"

#define QEMU_IMG "/usr/bin/qemu-img"

enum { CONVERT_IN = 3, CONVERT_OUT = 4, UNPACK_LIST = 4, MERGE_OUT = 4, MERGE_FIRST = 5 };
#define CONVERT_OUT_PATH "/proc/self/fd/4"

struct job {
    enum disk_format format, to;
    uint64_t bytes, out, packed, uid, layers;
    bool raw, has_out, has_packed, progress;
};

static int print(const char *text, struct error *err)
{
    int r = fd_write_all(STDOUT_FILENO, text, strlen(text));
    if (r == 0)
        r = fd_write_all(STDOUT_FILENO, "\n", 1);
    return r < 0 ? error_errno(err, r, "write the result") : 0;
}

static void print_progress(uint64_t bytes)
{
    char line[32];
    int n = snprintf(line, sizeof(line), "%" PRIu64 "\n", bytes);
    (void)!write(STDOUT_FILENO, line, (size_t)n);
}

static int run_check(const struct job *job, struct error *err)
{
    static const int in = STDIN_FILENO;
    struct disk_reader reader;
    enum disk_format format = job->format;
    uint64_t bytes = 0;
    char line[128];
    int r = disk_reader_open(&in, &reader, err);
    if (r == 0)
        r = confine_compute(err);
    if (r == 0 && format == DISK_UNKNOWN)
        r = disk_format_guess(&reader, &format, err);
    if (r == 0)
        r = disk_format_check(&reader, format, &bytes, err);
    if (r < 0)
        return r;
    snprintf(line, sizeof(line), "{\"format\":\"%s\",\"virtual_bytes\":%" PRIu64 "}",
             disk_format_name(format), bytes);
    return print(line, err);
}

static int run_cut(const struct job *job, struct error *err)
{
    struct disk_cut cut = {
        .in = STDIN_FILENO,
        .out = job->has_out ? (int)job->out : -EBADF,
        .packed = job->has_packed ? (int)job->packed : -EBADF,
        .bytes = job->bytes,
        .progress = job->progress ? print_progress : NULL,
    };
    _cleanup_(disk_index_done) struct disk_index index = {0};
    if (job->bytes == 0 || job->bytes > DISK_MAX_BYTES)
        return error_invalid(err, "--bytes is out of range");
    int r = confine_compute(err);
    if (r == 0)
        r = disk_cut_run(&cut, confine_compute_seal, &index, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *text = disk_cut_text(&index);
    return print(text, err);
}

static int run_unpack(const struct job *job, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(JSON_MAX_BYTES);
    _cleanup_json_ json_t *o = NULL;
    _cleanup_(disk_index_done) struct disk_index index = {0};
    if (!job->has_out)
        return error_invalid(err, "--out is needed");
    int r = confine_compute(err);
    if (r < 0 || (r = confine_compute_seal(err)) < 0)
        return r;
    if ((r = fd_read_to_end(UNPACK_LIST, &text)) < 0)
        return error_errno(err, r, "read the list of chunks");
    if ((r = json_parse(text.data ? text.data : "", text.len, "list of chunks", &o, err)) < 0 ||
        (r = disk_cut_parse(o, &index, err)) < 0)
        return r;
    r = disk_unpack_run(STDIN_FILENO, (int)job->out, &index, err);
    return r < 0 ? r : print("{}", err);
}

static int run_merge(const struct job *job, struct error *err)
{
    int overlays[DISK_LAYERS_MAX];
    struct disk_merge merge = {.raw = job->raw ? STDIN_FILENO : -EBADF,
                               .overlays = overlays,
                               .n = job->layers,
                               .out = MERGE_OUT};
    uint64_t bytes = 0;
    char line[64];
    for (size_t i = 0; i < ARRAY_SIZE(overlays); i++)
        overlays[i] = MERGE_FIRST + (int)i;
    int r = confine_compute(err);
    if (r < 0 || (r = confine_compute_seal(err)) < 0 ||
        (r = disk_merge_run(&merge, &bytes, err)) < 0)
        return r;
    snprintf(line, sizeof(line), "{\"virtual_bytes\":%" PRIu64 "}", bytes);
    return print(line, err);
}

/* The format is said, and that there is nothing behind the image, whatever it says itself. */
static char *source_options(enum disk_format f)
{
    bool chained = f == DISK_QCOW2 || f == DISK_VMDK;
    return xasprintf("json:{\"driver\":\"%s\",%s\"file\":{\"driver\":\"file\","
                     "\"filename\":\"/proc/self/fd/%d\"}}",
                     disk_format_name(f), chained ? "\"backing\":null," : "", CONVERT_IN);
}

/* A raw result is a file of the right size already, and what it has not is zero. */
static int run_convert(const struct job *job, struct error *err)
{
    const struct disk_confine confine = {.in = CONVERT_IN,
                                         .out = CONVERT_OUT,
                                         .file_bytes = job->bytes + job->bytes / 8 + (64u << 20),
                                         .uid = (uid_t)job->uid};
    _cleanup_free_ char *source = source_options(job->format);
    const char *argv[12] = {"qemu-img", "convert", "-O", disk_format_name(job->to)};
    size_t n = 4;
    if (job->to == DISK_RAW) {
        argv[n++] = "-n";
        argv[n++] = "--target-is-zero";
    }
    argv[n++] = source;
    argv[n] = CONVERT_OUT_PATH;
    /* One heap for all its threads: each heap of its own takes 128 MiB of the address space that it
     * may have, and a thread that finds none left ends the program. */
    char *const env[] = {(char *)"PATH=/usr/bin:/bin", (char *)"MALLOC_ARENA_MAX=1", NULL};
    if (job->format == DISK_UNKNOWN || job->to == DISK_UNKNOWN || job->uid == 0)
        return error_invalid(err, "--format, --to and --uid are needed");
    if (access(QEMU_IMG, X_OK) < 0)
        return error_set(err, ERROR_UNSUPPORTED, ENOENT,
                         "%s images are converted by qemu-img, which is not installed "
                         "(apt-get install qemu-utils)",
                         disk_format_name(job->format == DISK_RAW ? job->to : job->format));
    int r = disk_confine(&confine, err);
    if (r < 0)
        return r;
    execve(QEMU_IMG, (char *const *)argv, env);
    return error_errno(err, errno, "start qemu-img");
}

static const struct {
    const char *name;
    int (*run)(const struct job *job, struct error *err);
} commands[] = {{"check", run_check},
                {"cut", run_cut},
                {"unpack", run_unpack},
                {"merge", run_merge},
                {"convert", run_convert}};

static int parse_format(const char *text, enum disk_format *ret)
{
    *ret = disk_format_from_name(text);
    return *ret == DISK_UNKNOWN ? -EINVAL : 0;
}

static int parse_option(const char *name, const char *value, struct job *job)
{
    if (strcmp(name, "--format") == 0)
        return parse_format(value, &job->format);
    if (strcmp(name, "--to") == 0)
        return parse_format(value, &job->to);
    if (strcmp(name, "--bytes") == 0)
        return parse_u64(value, DISK_MAX_BYTES, &job->bytes);
    if (strcmp(name, "--uid") == 0)
        return parse_u64(value, UINT32_MAX - 1, &job->uid);
    if (strcmp(name, "--layers") == 0)
        return parse_u64(value, DISK_LAYERS_MAX, &job->layers);
    if (strcmp(name, "--packed") == 0) {
        job->has_packed = true;
        return parse_u64(value, 1024, &job->packed);
    }
    if (strcmp(name, "--out") != 0)
        return -ENOENT;
    job->has_out = true;
    return parse_u64(value, 1024, &job->out);
}

static int parse_options(int argc, char **argv, struct job *job, struct error *err)
{
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--progress") == 0) {
            job->progress = true;
            continue;
        }
        if (strcmp(argv[i], "--raw") == 0) {
            job->raw = true;
            continue;
        }
        int r = parse_option(argv[i], i + 1 < argc ? argv[i + 1] : "", job);
        if (r < 0)
            return error_invalid(err, "%s: unknown, or a bad value", argv[i]);
        i++;
    }
    return 0;
}

static int run(int argc, char **argv, struct error *err)
{
    struct job job = {0};
    int r = parse_options(argc, argv, &job, err);
    for (size_t i = 0; r == 0 && argc > 1 && i < ARRAY_SIZE(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(&job, err);
    return r < 0 ? r
                 : error_invalid(err, "usage: proa-disk check|cut|unpack|merge|convert [options]");
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    /* What the libraries load from files on first use has to be there before no file can be
     * opened. */
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    EVP_MD_free(EVP_MD_fetch(NULL, "SHA256", NULL));
    if (run(argc, argv, &err) == 0)
        return 0;
    fprintf(stderr, "%s %s\n", error_kind_name(err.kind), err.msg);
    return 1;
}
