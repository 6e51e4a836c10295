/* What is the host's and is to be seen in a light machine as it is, now and later; and the files
 * that are made for it and sent. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "kernel/cgroup.h"
#include "wire/agent/agent.h"
#include "wire/oci/config.h"

#define VM_SHARES_MAX 12u

struct vm_share_entry {
    char *path;    /* in the machine */
    char name[12]; /* of a file, in its device */
    int source_fd; /* the host's directory or file */
    bool readonly;
};
/* A virtiofs device: one directory, or all files together. */
struct vm_share {
    char tag[16];
    bool files;
    struct vm_share_entry *entries;
    size_t n_entries;
    int qemu_fd; /* connected to virtiofsd */
    pid_t pid;
};
struct vm_shares {
    struct vm_share items[VM_SHARES_MAX];
    size_t n;
    struct agent_file *files; /* sent; path and content owned */
    size_t n_files;
};
#define VM_SHARE_FILES_MAX (AGENT_ITEMS_MAX - VM_SHARES_MAX)
void vm_shares_init(struct vm_shares *s);
void vm_shares_done(struct vm_shares *s);
/* Sorts the configuration's binds into what is shared and files to send. */
int vm_shares_plan(const struct oci_config *c, const char *bundle, struct vm_shares *s,
                   struct error *err) _must_check_;
/* What the machine's agent is told of what is shared: owned, and its strings are of s. */
struct agent_share *vm_shares_describe(const struct vm_shares *s, size_t *ret_n);
int vm_shares_start(struct vm_shares *s, const char *run_dir, const struct cgroup *group,
                    struct error *err) _must_check_;
