/*
 * Keys and signatures, through OpenSSL: ECDSA on P-256, P-384 and P-521, Ed25519, and RSA (PKCS #1
 * v1.5) of 2048 bits and more; SHA-256 where a digest is signed. Private keys are PKCS #8, plain or
 * encrypted, or in cosign's own form (key-box.c). Only proa-trust calls this.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define KEY_PEM_MAX_BYTES ((size_t)64 << 10)

struct key_text {
    const void *data;
    size_t len;
};

/* *ret_good: signature is one of text by the private half of the public key (PEM). An error is a
 * key that cannot be used, not a bad signature. */
int key_verify(const char *public_pem, struct key_text text, struct key_text signature,
               bool *ret_good, struct error *err) _must_check_;

/* passphrase NULL: there is none. *ret_signature and *ret_public (PEM) are owned. */
int key_sign(const char *private_pem, const char *passphrase, struct key_text text,
             char **ret_signature, size_t *ret_len, char **ret_public,
             struct error *err) _must_check_;

/* "ecdsa-p256", "ecdsa-p384" or "ed25519". With a passphrase the private key is in cosign's form,
 * else plain PKCS #8. */
int key_generate(const char *type, const char *passphrase, char **ret_private, char **ret_public,
                 struct error *err) _must_check_;

/* "sha256:..." of a text. */
#define KEY_DIGEST_SIZE 72
int key_digest(struct key_text text, char ret[static KEY_DIGEST_SIZE],
               struct error *err) _must_check_;

/* cosign's encrypted keys (key-box.c). */
#define KEY_BOX_COSIGN   "ENCRYPTED COSIGN PRIVATE KEY"
#define KEY_BOX_SIGSTORE "ENCRYPTED SIGSTORE PRIVATE KEY"
/* The body of the PEM text into the DER of a PKCS #8 key; owned, release with key_free(). */
int key_box_open(struct key_text body, const char *passphrase, unsigned char **ret_der,
                 size_t *ret_len, struct error *err) _must_check_;
int key_box_close(struct key_text der, const char *passphrase, char **ret_body,
                  struct error *err) _must_check_;

/* Wipes it first; takes NULL. */
void key_free(void *secret, size_t len);
