/*
 * One login: the file of users on descriptor 0, name and secret (each ended by a NUL) on descriptor
 * 3. Says {"role":N}, 0 for nobody.
 *
 * A line of the file is NAME:HASH or NAME:HASH:ROLES, as htpasswd writes it (bcrypt, with -B), or
 * with any other hash of crypt(5), or "sha256$HEX" of a token, which is long and random and needs
 * no slow hash. A token may also come without its name. ROLES are some of pull, push and delete
 * with commas between them; without them all. "#" begins a comment.
 */
#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "base/text.h"
#include "wire/serve/message.h"
#include "wire/serve/program.h"

#define FILE_MAX     ((size_t)1 << 20)
#define TOKEN_PREFIX "sha256$"
/* What is computed for a name that is not there, so that the time does not tell. */
#define NOBODYS_HASH "$2y$10$abcdefghijklmnopqrstuuJ6PqFhJ0p7vFvYcYbTnJvN7k0mQ8uC2"

struct login {
    const char *user, *secret;
    char token[65]; /* the secret's sha256 */
    struct crypt_data crypt;
};

static bool same(const char *a, const char *b)
{
    return strlen(a) == strlen(b) && CRYPTO_memcmp(a, b, strlen(a)) == 0;
}

static bool password_fits(struct login *l, const char *hash)
{
    /* Gives NULL where crypt_r would give a text that is no hash. */
    const char *made = crypt_rn(l->secret, hash, &l->crypt, (int)sizeof(l->crypt));
    return made && same(made, hash);
}

static unsigned int parse_roles(const char *text)
{
    static const struct {
        const char *name;
        unsigned int role;
    } names[] = {{"pull", SERVE_ROLE_PULL},
                 {"push", SERVE_ROLE_PUSH | SERVE_ROLE_PULL},
                 {"delete", SERVE_ROLE_DELETE | SERVE_ROLE_PULL}};
    unsigned int role = 0;
    if (!text)
        return SERVE_ROLE_PULL | SERVE_ROLE_PUSH | SERVE_ROLE_DELETE;
    _cleanup_strv_ char **words = strv_split(text, ',');
    for (size_t i = 0; words[i]; i++)
        for (size_t n = 0; n < ARRAY_SIZE(names); n++)
            if (strcmp(words[i], names[n].name) == 0)
                role |= names[n].role;
    return role;
}

/* The line's role when it lets the login in, otherwise 0. *named: it was this user's. */
static unsigned int try_line(struct login *l, char *line, bool *named)
{
    char *hash = strchr(line, ':');
    if (line[0] == '#' || !hash)
        return 0;
    *hash++ = '\0';
    char *roles = strchr(hash, ':');
    if (roles)
        *roles++ = '\0';
    hash[strcspn(hash, "\r ")] = '\0';
    if (roles)
        roles[strcspn(roles, "\r ")] = '\0';
    bool token = strncmp(hash, TOKEN_PREFIX, strlen(TOKEN_PREFIX)) == 0;
    bool mine = strcmp(line, l->user) == 0;
    if (token && (mine || !*l->user))
        return same(hash + strlen(TOKEN_PREFIX), l->token) ? parse_roles(roles) : 0;
    if (!mine || token || !*hash)
        return 0;
    *named = true;
    return password_fits(l, hash) ? parse_roles(roles) : 0;
}

static unsigned int check(struct login *l, const char *users)
{
    _cleanup_strv_ char **lines = strv_split(users, '\n');
    bool named = false;
    unsigned int role = 0;
    for (size_t i = 0; role == 0 && lines[i]; i++)
        role = try_line(l, lines[i], &named);
    if (role == 0 && !named)
        (void)password_fits(l, NOBODYS_HASH);
    return role;
}

static int hash_token(struct login *l, struct error *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    if (EVP_Digest(l->secret, strlen(l->secret), digest, &len, EVP_sha256(), NULL) != 1 ||
        len != 32)
        return error_set(err, ERROR_SYSTEM, EIO, "cannot compute sha256 digests");
    hex_encode(digest, len, l->token);
    return 0;
}

static int read_secret(struct buf *secret, struct login *l, struct error *err)
{
    int r = fd_read_to_end(3, secret);
    if (r < 0)
        return error_errno(err, r, "read a login");
    const char *end = secret->data ? memchr(secret->data, '\0', secret->len) : NULL;
    if (!end || secret->data[secret->len - 1] != '\0' ||
        (size_t)(end - secret->data) + 1 >= secret->len)
        return error_invalid(err, "a login in the wrong form");
    l->user = secret->data;
    l->secret = end + 1;
    return 0;
}

int auth_run(struct error *err)
{
    _cleanup_buf_ struct buf users = BUF_INIT(FILE_MAX), secret = BUF_INIT(4096);
    struct login *l = xnew(struct login);
    char line[32];
    EVP_MD_free(EVP_MD_fetch(NULL, "SHA256", NULL));
    int r = serve_confine(SERVE_STREAM, err);
    if (r == 0 && (r = fd_read_to_end(STDIN_FILENO, &users)) < 0)
        r = error_errno(err, r, "read the users");
    if (r == 0 && (r = read_secret(&secret, l, err)) == 0 && (r = hash_token(l, err)) == 0) {
        snprintf(line, sizeof(line), "{\"role\":%u}\n", check(l, users.data ? users.data : ""));
        r = fd_write_all(STDOUT_FILENO, line, strlen(line));
    }
    OPENSSL_cleanse(l, sizeof(*l));
    free(l);
    return r;
}
