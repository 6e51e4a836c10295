/*
 * Bytes of an upload: from a pipe (descriptor 0) into a file (descriptor 3), hashed on the way.
 * Says
 * {"digest","bytes"} at the end, or {"error"}: "limit", "full", or "failed".
 */
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/text.h"
#include "wire/serve/program.h"

#define OUT   3
#define CHUNK ((size_t)256 << 10)

static unsigned char chunk[CHUNK];

static int say(const char *line, struct error *err)
{
    int r = fd_write_all(STDOUT_FILENO, line, strlen(line));
    return r < 0 ? error_errno(err, r, "write the result") : 0;
}

static int say_error(const char *word, struct error *err)
{
    char line[64];
    snprintf(line, sizeof(line), "{\"error\":\"%s\"}\n", word);
    return say(line, err);
}

static int say_digest(EVP_MD_CTX *hash, const char *algorithm, uint64_t bytes, struct error *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1], line[256];
    unsigned int len = 0;
    if (EVP_DigestFinal_ex(hash, digest, &len) != 1)
        return say_error("failed", err);
    hex_encode(digest, len, hex);
    snprintf(line, sizeof(line), "{\"digest\":\"%s:%s\",\"bytes\":%" PRIu64 "}\n", algorithm, hex,
             bytes);
    return say(line, err);
}

/* out -EBADF: only hashed. NULL, or the word for what went wrong. */
static const char *pump(EVP_MD_CTX *hash, int out, uint64_t most, uint64_t *bytes)
{
    for (;;) {
        ssize_t n = read(STDIN_FILENO, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? NULL : "failed";
        if ((uint64_t)n > most - *bytes)
            return "limit";
        *bytes += (uint64_t)n;
        int r = out >= 0 ? fd_write_all(out, chunk, (size_t)n) : 0;
        if (r < 0)
            return r == -ENOSPC || r == -EDQUOT || r == -EFBIG ? "full" : "failed";
        if (EVP_DigestUpdate(hash, chunk, (size_t)n) != 1)
            return "failed";
    }
}

static int digest_input(const char *algorithm, int out, uint64_t most, struct error *err)
{
    uint64_t bytes = 0;
    EVP_MD *md = EVP_MD_fetch(NULL, algorithm, NULL);
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    int r = md && hash && EVP_DigestInit_ex(hash, md, NULL) == 1
                ? 0
                : error_set(err, ERROR_SYSTEM, ENOMEM, "cannot compute %s digests", algorithm);
    if (r == 0)
        r = serve_confine(SERVE_STREAM, err);
    if (r == 0) {
        const char *word = pump(hash, out, most, &bytes);
        r = word ? say_error(word, err) : say_digest(hash, algorithm, bytes, err);
    }
    EVP_MD_CTX_free(hash);
    EVP_MD_free(md);
    return r;
}

int receive_run(uint64_t most_bytes, struct error *err)
{
    return digest_input("sha256", OUT, most_bytes, err);
}

int hash_run(const char *algorithm, struct error *err)
{
    return digest_input(algorithm, -EBADF, UINT64_MAX, err);
}
