/* What the verbs of proa-oci share. */
#pragma once

#include "front/command/command.h"
#include "front/command/report.h"
#include "runtime/oci/container.h"

/* The options before the verb. */
struct oci_globals {
    char *root, *log, *log_format, *cgroup_manager, *rootless;
    bool debug, systemd_cgroup, version;
};

/* Where the containers' directories are: --root, or a place of this user's own. Owned. */
char *oci_root(const struct cli *cli);
/* Where compiled seccomp filters are kept; owned, NULL when this user has no place. */
char *oci_filter_cache(void);
bool oci_wants_systemd(const struct cli *cli);

/* Reports the error on stderr and in the log; gives code. */
int oci_failed(const struct cli *cli, const struct error *err, int code);

/* Reports once what a verb met that stops nothing, on stderr and in the log. */
void oci_warn(const struct cli *cli, struct oci_container *c);

/* Opens a container; on failure it has been reported. */
int oci_open(const struct cli *cli, const char *id, bool lock, struct oci_container *ret,
             struct error *err) _must_check_;

/* After the end of one that was run here. Another command may have deleted it already. */
int oci_delete_ended(const struct cli *cli, const char *id, struct error *err) _must_check_;

/* 3 to 2+n are open, or ERROR_INVALID; LISTEN_FDS of socket activation counts too: *n is the sum.
 */
int oci_preserved(unsigned int asked, unsigned int *ret, struct error *err) _must_check_;

/* log.c: one line to the file that --log names, in the form of --log-format. */
void oci_log(const struct oci_globals *g, const char *level, const char *message);
