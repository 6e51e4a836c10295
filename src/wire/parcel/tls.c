/*
 * TLS 1.3, both sides with certificates, each of which the other's authority has signed. The side
 * that connects also wants the name, or the address, that it connected to.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "wire/parcel/program.h"

#define HANDSHAKE_S 20
#define PEM_MAX     (1 << 20)
#define CA_MAX      100

struct tls {
    SSL_CTX *context;
    SSL *ssl;
    bool server;
};

static int failed(struct error *err, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *why = code ? ERR_reason_error_string(code) : NULL;
    return error_set(err, ERROR_DENIED, EPROTO, "%s: %s", what, why ? why : "the connection ended");
}

/* The whole file in memory: nothing is opened by a name. */
static BIO *read_pem(int fd)
{
    struct stat st;
    BIO *bio = BIO_new(BIO_s_mem());
    char data[4096];
    ssize_t n;
    size_t total = 0;
    if (!bio || fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return bio;
    while ((n = read(fd, data, sizeof(data))) > 0 && (total += (size_t)n) <= PEM_MAX)
        BIO_write(bio, data, (int)n);
    return bio;
}

/* No question for a password on a terminal. */
static int no_password(char *text, int size, int writing, void *context)
{
    (void)text;
    (void)size;
    (void)writing;
    (void)context;
    return 0;
}

/* The certificate, then those between it and the authority. */
static bool use_certificate(SSL_CTX *c)
{
    BIO *bio = read_pem(PARCEL_FD_CERT);
    X509 *first = PEM_read_bio_X509(bio, NULL, no_password, NULL), *more;
    bool ok = first && SSL_CTX_use_certificate(c, first) == 1;
    while (ok && (more = PEM_read_bio_X509(bio, NULL, no_password, NULL)))
        ok = SSL_CTX_add0_chain_cert(c, more) == 1;
    X509_free(first);
    BIO_free(bio);
    if (ok)
        ERR_clear_error(); /* of the end of the file */
    return ok;
}

static bool use_key(SSL_CTX *c)
{
    BIO *bio = read_pem(PARCEL_FD_KEY);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    bool ok = key && SSL_CTX_use_PrivateKey(c, key) == 1 && SSL_CTX_check_private_key(c) == 1;
    EVP_PKEY_free(key);
    BIO_free(bio);
    return ok;
}

static bool use_authority(SSL_CTX *c)
{
    BIO *bio = read_pem(PARCEL_FD_CA);
    X509_STORE *store = SSL_CTX_get_cert_store(c);
    X509 *one;
    int n = 0;
    bool ok = true;
    while (ok && n < CA_MAX && (one = PEM_read_bio_X509(bio, NULL, no_password, NULL))) {
        ok = X509_STORE_add_cert(store, one) == 1;
        X509_free(one);
        n++;
    }
    BIO_free(bio);
    if (ok && n > 0)
        ERR_clear_error();
    return ok && n > 0;
}

static bool expect_name(SSL *ssl, const char *host)
{
    unsigned char address[16];
    X509_VERIFY_PARAM *p = SSL_get0_param(ssl);
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(p, host) == 1;
    return X509_VERIFY_PARAM_set1_host(p, host, 0) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

int tls_new(const char *host, struct tls **ret, struct error *err)
{
    struct tls *t = xnew(struct tls);
    int r = 0;
    t->server = !host;
    t->context = SSL_CTX_new(host ? TLS_client_method() : TLS_server_method());
    if (!t->context || SSL_CTX_set_min_proto_version(t->context, TLS1_3_VERSION) != 1)
        r = failed(err, "TLS");
    else if (!use_certificate(t->context))
        r = failed(err, "--tls-cert");
    else if (!use_key(t->context))
        r = failed(err, "--tls-key");
    else if (!use_authority(t->context))
        r = failed(err, "--tls-ca");
    else if (!(t->ssl = SSL_new(t->context)) || (host && !expect_name(t->ssl, host)))
        r = failed(err, "TLS");
    if (r < 0) {
        tls_free(t);
        return r;
    }
    /* No tickets: a connection is used once. And a record that has nothing for us in it does not
     * make the side that also sends wait for the next one. */
    (void)SSL_set_num_tickets(t->ssl, 0);
    if (host)
        SSL_clear_mode(t->ssl, SSL_MODE_AUTO_RETRY);
    SSL_set_verify(t->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    *ret = t;
    return 0;
}

static void set_patience(int fd, time_t seconds)
{
    const struct timeval t = {.tv_sec = seconds};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

int tls_start(struct tls *t, int fd, struct error *err)
{
    set_patience(fd, HANDSHAKE_S);
    if (SSL_set_fd(t->ssl, fd) != 1)
        return failed(err, "TLS");
    int n = t->server ? SSL_accept(t->ssl) : SSL_connect(t->ssl);
    long verified = SSL_get_verify_result(t->ssl);
    if (n != 1 && verified != X509_V_OK)
        return error_set(err, ERROR_DENIED, EACCES, "the other side's certificate: %s",
                         X509_verify_cert_error_string(verified));
    if (n != 1)
        return failed(err, "TLS with the other side");
    set_patience(fd, 0);
    return 0;
}

ssize_t tls_read(struct tls *t, void *data, size_t len)
{
    ERR_clear_error();
    errno = 0;
    int n = SSL_read(t->ssl, data, (int)MIN(len, (size_t)INT_MAX));
    if (n > 0)
        return n;
    switch (SSL_get_error(t->ssl, n)) {
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_WANT_READ:
        return -EAGAIN;
    case SSL_ERROR_SYSCALL:
        return errno ? -errno : -ECONNRESET;
    default:
        return ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING ? -ECONNRESET
                                                                                      : -EPROTO;
    }
}

int tls_write(struct tls *t, const void *data, size_t len)
{
    ERR_clear_error();
    errno = 0;
    while (len > 0) {
        int n = SSL_write(t->ssl, data, (int)MIN(len, (size_t)INT_MAX));
        if (n <= 0)
            return errno ? -errno : -ECONNRESET;
        data = (const char *)data + n;
        len -= (size_t)n;
    }
    return 0;
}

bool tls_pending(const struct tls *t)
{
    return SSL_pending(t->ssl) > 0;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    if (t->ssl)
        (void)SSL_shutdown(t->ssl);
    SSL_free(t->ssl);
    SSL_CTX_free(t->context);
    free(t);
}
