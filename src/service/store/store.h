/*
 * The one SQLite file that remembers what exists: images, instances, networks, volumes,
 * snapshots. This folder
 * holds the only SQL of the tree; each noun has a file (image.c, instance.c, network.c, volume.c)
 * with its table definition and typed functions.
 *
 * Many commands open it at once: WAL mode, a busy timeout, and BEGIN IMMEDIATE around every change
 * that reads first. What a command acknowledged survives a kill of any process.
 */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* The volatile directory of the default root; of others it has what all roots of a host share. */
#define STORE_DEFAULT_RUN "/run/proa"

struct store {
    sqlite3 *db;
    char *root;   /* persistent state directory, absolute (/var/lib/proa) */
    char *run;    /* volatile directory on tmpfs (/run/proa, or /run/proa-HASH) */
    uint32_t tag; /* tells roots apart where paths are no names; 0: the default one */
    char *policy; /* the policy file to ask of what comes in; NULL: the default's (service/trust) */
    int depth;    /* nesting of store_begin */
    int logged;   /* pages in the log, as of the last commit */
};

/* How a table of nftables is called: each root has its own in a network namespace that it shares
 * with others, the default one by the bare word. */
struct store_table {
    char name[32];
};
struct store_table store_table(const struct store *s, const char *word);

/* Opens, creating directories (0700) and tables when absent. root NULL: PROA_ROOT or the default.
 */
int store_open(const char *root, struct store **ret, struct error *err) _must_check_;
void store_close(struct store *s); /* takes NULL */
DEFINE_CLEANUP(struct store *, store_close)
#define _cleanup_store_ _cleanup_(store_close_cleanup)

/* What is wrong with the database file itself, a line each; *ret is owned. */
int store_check(struct store *s, char ***ret_faults, struct error *err) _must_check_;

/* A transaction. end commits when ok, otherwise rolls back. They nest; the outermost counts. */
int store_begin(struct store *s, struct error *err) _must_check_;
int store_end(struct store *s, bool ok, struct error *err);
