/*
 * proa-layer: everything that parses archives, in a process without privilege.
 *
 *   proa-layer convert --out FD [--split FD] [--range OFFSET:SIZE] [--max-bytes N] [--need-end]
 *                      [--progress] [--follow FD]
 *       archive on stdin, EROFS into FD; prints {"diff_id","digest","erofs_bytes","tar_bytes",
 *       "archive_bytes","inodes"}. --follow: the range is still being written (stream.h)
 *   proa-layer tar --split FD [--out FD] [--compress none|gzip|zstd] [--verify] [--max-bytes N]
 *       EROFS on stdin; the tar it was made of into FD, as such or compressed; prints {"diff_id",
 *       "tar_bytes","digest","size"}, the last two of what was written
 *   proa-layer unpack --out FD [--max-bytes N]
 *       EROFS on stdin; all that is in it into FD as a plain tar stream (unpack.h); prints
 *       {"entries","bytes"}
 *   proa-layer index --out FD [--in-place] [--max-bytes N] [--progress]
 *       archive of files on stdin, its members' contents into FD, unless they can stay in place;
 *       prints the index (layer.h)
 *   proa-layer digest [--range OFFSET:SIZE]
 *       prints {"digest","bytes"} of stdin as it is
 *
 * Progress is lines of bare numbers on stdout before the JSON line: bytes of the archive read. An
 * error is one line on stderr, "KIND MESSAGE", KIND being a word of error_kind_name().
 */
#include <inttypes.h>
#include <locale.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/text.h"
#include "wire/confine/compute.h"
#include "wire/layer/ahead.h"
#include "wire/layer/layer.h"
#include "wire/layer/unpack.h"

struct job {
    struct layer_source source;
    int out, split;
    enum sink_compression compression;
    bool need_end, verify, in_place;
};

static void print_progress(void *context, uint64_t bytes)
{
    char line[32];
    int n = snprintf(line, sizeof(line), "%" PRIu64 "\n", bytes);
    (void)context;
    (void)!write(STDOUT_FILENO, line, (size_t)n);
}

static int print(const char *text, struct error *err)
{
    int r = fd_write_all(STDOUT_FILENO, text, strlen(text));
    if (r == 0)
        r = fd_write_all(STDOUT_FILENO, "\n", 1);
    return r < 0 ? error_errno(err, r, "write the result") : 0;
}

/* What can be parsed is parsed by threads that were there before. */
static int run_convert(const struct job *job, struct error *err)
{
    _cleanup_ahead_ struct layer_ahead *ahead = NULL;
    struct layer_source source = job->source;
    struct layer_result result = {0};
    char line[512];
    struct layer_target to = {job->out, job->split, job->need_end};
    int r = layer_ahead_new(&ahead, err);
    if (r < 0 || (r = confine_compute_seal(err)) < 0)
        return r;
    source.ahead = ahead;
    r = layer_convert(&source, &to, &result, err);
    if (r < 0)
        return r;
    snprintf(line, sizeof(line),
             "{\"diff_id\":\"%s\",\"digest\":\"%s\",\"erofs_bytes\":%" PRIu64
             ",\"tar_bytes\":%" PRIu64 ",\"archive_bytes\":%" PRIu64 ",\"inodes\":%" PRIu64 "}",
             result.digests.tar, result.digests.archive, result.erofs_bytes,
             result.digests.tar_bytes, result.digests.archive_bytes, result.inodes);
    return print(line, err);
}

static int run_tar(const struct job *job, struct error *err)
{
    struct layer_sink_result result = {0};
    char line[320];
    struct layer_back how = {
        .split_fd = job->split,
        .erofs_fd = STDIN_FILENO,
        .out_fd = job->out,
        .compression = job->compression,
        .max_bytes = job->source.max_bytes,
        .verify = job->verify,
    };
    int r = confine_compute_seal(err);
    if (r < 0 || (r = layer_tar(&how, &result, err)) < 0)
        return r;
    snprintf(line, sizeof(line),
             "{\"diff_id\":\"%s\",\"tar_bytes\":%" PRIu64 ",\"digest\":\"%s\",\"size\":%" PRIu64
             "}",
             result.plain, result.plain_bytes, result.written, result.written_bytes);
    return print(line, err);
}

static int run_unpack(const struct job *job, struct error *err)
{
    struct layer_unpacked done = {0};
    char line[96];
    if (job->out < 0)
        return error_invalid(err, "--out is missing");
    int r = confine_compute_seal(err);
    if (r < 0 || (r = layer_unpack(STDIN_FILENO, job->out, job->source.max_bytes, &done, err)) < 0)
        return r;
    snprintf(line, sizeof(line), "{\"entries\":%" PRIu64 ",\"bytes\":%" PRIu64 "}", done.entries,
             done.bytes);
    return print(line, err);
}

static int run_index(const struct job *job, struct error *err)
{
    char *json = NULL;
    int r = layer_index(&job->source, job->out, job->in_place, &json, err);
    if (r == 0)
        r = print(json, err);
    free(json);
    return r;
}

static int run_digest(const struct job *job, struct error *err)
{
    uint64_t bytes;
    char digest[LAYER_DIGEST_SIZE], line[160];
    int r = layer_digest(&job->source, digest, &bytes, err);
    if (r < 0)
        return r;
    snprintf(line, sizeof(line), "{\"digest\":\"%s\",\"bytes\":%" PRIu64 "}", digest, bytes);
    return print(line, err);
}

static const struct {
    const char *name;
    int (*run)(const struct job *job, struct error *err);
    bool makes_file, needs_split;
} commands[] = {
    {"convert", run_convert, true, false}, {"index", run_index, true, false},
    {"digest", run_digest, false, false},  {"tar", run_tar, false, true},
    {"unpack", run_unpack, false, false},
};

static int parse_range(const char *text, struct layer_source *source)
{
    char number[32];
    const char *colon = strchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof(number))
        return -EINVAL;
    memcpy(number, text, (size_t)(colon - text));
    number[colon - text] = '\0';
    int r = parse_u64(number, INT64_MAX, &source->offset);
    if (r == 0)
        r = parse_u64(colon + 1, INT64_MAX - source->offset, &source->size);
    source->ranged = true;
    return r;
}

static int parse_fd(const char *value, int *ret)
{
    uint64_t fd;
    int r = parse_u64(value, 1024, &fd);
    if (r == 0)
        *ret = (int)fd;
    return r;
}

/* -ENOENT: there is no such option. */
static int parse_option(const char *name, const char *value, struct job *job)
{
    if (strcmp(name, "--out") == 0)
        return parse_fd(value, &job->out);
    if (strcmp(name, "--split") == 0)
        return parse_fd(value, &job->split);
    if (strcmp(name, "--follow") == 0) {
        job->source.follows = true;
        return parse_fd(value, &job->source.follow_fd);
    }
    if (strcmp(name, "--range") == 0)
        return parse_range(value, &job->source);
    if (strcmp(name, "--compress") == 0)
        return sink_compression_parse(value, &job->compression);
    if (strcmp(name, "--max-bytes") == 0)
        return parse_u64(value, INT64_MAX / 2, &job->source.max_bytes);
    return -ENOENT;
}

static bool parse_flag(const char *name, struct job *job)
{
    if (strcmp(name, "--need-end") == 0)
        job->need_end = true;
    else if (strcmp(name, "--verify") == 0)
        job->verify = true;
    else if (strcmp(name, "--in-place") == 0)
        job->in_place = true;
    else if (strcmp(name, "--progress") == 0)
        job->source.progress = print_progress;
    else
        return false;
    return true;
}

static int parse_options(int argc, char **argv, struct job *job, struct error *err)
{
    for (int i = 2; i < argc; i++) {
        if (parse_flag(argv[i], job))
            continue;
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        int r = parse_option(argv[i], value, job);
        if (r == -ENOENT)
            return error_invalid(err, "unknown option %s", argv[i]);
        if (r < 0)
            return error_invalid(err, "%s: bad value \"%s\"", argv[i], value);
        i++;
    }
    return 0;
}

static int check_empty(int fd, const char *option, struct error *err)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size != 0)
        return error_invalid(err, "%s must name an empty regular file", option);
    return 0;
}

static int check_files(const struct job *job, bool makes_file, bool needs_split, struct error *err)
{
    int r = makes_file ? check_empty(job->out, "--out", err) : 0;
    if (r == 0 && makes_file && job->split >= 0)
        r = check_empty(job->split, "--split", err);
    if (r == 0 && needs_split && job->split < 0)
        return error_invalid(err, "--split is missing");
    return r;
}

static int run(int argc, char **argv, struct error *err)
{
    struct job job = {.source = {.fd = STDIN_FILENO, .max_bytes = LAYER_MAX_BYTES},
                      .out = -EBADF,
                      .split = -EBADF};
    int r = parse_options(argc, argv, &job, err);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(commands); i++) {
        if (argc < 2 || strcmp(argv[1], commands[i].name) != 0)
            continue;
        if ((r = check_files(&job, commands[i].makes_file, commands[i].needs_split, err)) < 0)
            return r;
        if ((r = confine_compute(err)) < 0)
            return r;
        return commands[i].run(&job, err);
    }
    return r < 0
               ? r
               : error_invalid(err, "usage: proa-layer convert|tar|unpack|index|digest [options]");
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    /* libarchive translates names to the locale's encoding; UTF-8 is the identity. And what the
     * libraries load from files on first use has to be there before no file can be opened. */
    setlocale(LC_CTYPE, "C.UTF-8");
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    EVP_MD_free(EVP_MD_fetch(NULL, "SHA256", NULL));
    if (run(argc, argv, &err) == 0)
        return 0;
    fprintf(stderr, "%s %s\n", error_kind_name(err.kind), err.msg);
    return 1;
}
