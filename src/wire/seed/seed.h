/*
 * What a machine's system learns from cloud-init's NoCloud source: a small disk labelled "cidata"
 * with the files meta-data, user-data and network-config. Pure: values in, bytes out. What the
 * user gave is passed on and not interpreted, but for its first line, which says what it is.
 *
 * cloud-init reads YAML, of which JSON is a part: what is made here is JSON.
 */
#pragma once

#include <stddef.h>

#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"

#define SEED_TEXT_MAX ((size_t)256 << 10) /* of each of the user's files */
#define SEED_KEYS_MAX 64u
#define SEED_MAX      ((size_t)4 << 20) /* of the disk */

/* One network card. Addresses are text, NULL or "": none. */
struct seed_network {
    const char *mac;
    const char *address, *gateway, *address6, *gateway6; /* addresses with their prefix */
    unsigned int mtu;                                    /* 0: as it is */
};

struct seed {
    const char *instance_id, *hostname;
    const char *user;  /* to be made; NULL: the image's own */
    char *const *keys; /* lines of authorized_keys; may be NULL */
    /* The user's own; NULL: none. */
    const char *user_data, *meta_data, *network_config;
    const struct seed_network *networks;
    size_t n_networks;
    char *const *dns, *const *search; /* name servers, and domains to look in; may be NULL */
    const char *hosts;                /* lines for /etc/hosts; NULL: none */
};

/* Appends the disk. */
int seed_make(const struct seed *s, struct buf *out, struct error *err) _must_check_;

/* Its files, each appended as text. */
int seed_meta_data(const struct seed *s, struct buf *out, struct error *err) _must_check_;
int seed_user_data(const struct seed *s, struct buf *out, struct error *err) _must_check_;
/* Nothing when neither the user nor a network says anything. */
int seed_network_config(const struct seed *s, struct buf *out, struct error *err) _must_check_;

/* A line of authorized_keys, or what is wrong with it. */
int seed_key_check(const char *line, struct error *err) _must_check_;

/* iso.c: a disk of a few files in one directory: ISO 9660 with Joliet, which has the long names. */
struct iso_file {
    const char *name, *data;
    size_t len;
};
#define ISO_FILES_MAX 8u
int iso_make(const char *label, const struct iso_file *files, size_t n,
             struct buf *out) _must_check_;
