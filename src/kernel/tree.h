/*
 * A directory tree as a tar stream, out and in: what `cp` does, for the static guest, for the
 * container runtime's child and for the engine's host side.
 *
 * Whoever owns the tree or wrote the stream is taken to be hostile. Paths are resolved as a process
 * chrooted to rootfd would, once; from there on every step is one name below an open directory,
 * never following a symbolic link, so that neither names in the stream ("..", absolute, through a
 * link) nor somebody who swaps components meanwhile leads outside rootfd.
 *
 * Bounds: TREE_MAX_DEPTH directories, names as wire/tar has them, contents streamed. Both functions
 * are for single-threaded callers that ignore or expect SIGPIPE.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

#define TREE_MAX_DEPTH 512

/* Writes path to out_fd. A symbolic link at the end of path is sent as a link, unless `follow` or
 * path ends with "/" or "/.": then what it leads to is sent under the link's name. Entries begin
 * with the basename; with "/." (and for "/") only the contents are sent, named relative to it.
 * Sockets are left out, file systems of the kernel (proc, sysfs, cgroup) are not entered, what
 * vanishes meanwhile is skipped. */
int tree_send(int rootfd, const char *path, bool follow, int out_fd,
              struct error *err) _must_check_;

enum tree_form {
    TREE_COPY,   /* as cp has it: contents, owners, modes, times */
    TREE_EXPORT, /* attributes too; names as in an image's layer, without "./" */
    /* The upper directory of an overlay as a layer: as TREE_EXPORT, an overlay's marks become the
     * whiteouts of the OCI image specification, and holes of files are left out. */
    TREE_LAYER,
    TREE_CHANGES, /* as TREE_LAYER, but files are empty: only what there is */
};
/* Writes all that is in the directory rootfd to out_fd, without an entry for itself. In a layer,
 * what would be read as a whiteout is ERROR_UNSUPPORTED. */
int tree_send_all(int rootfd, enum tree_form form, int out_fd, struct error *err) _must_check_;
/* Refuses, with ERROR_UNSUPPORTED, a file whose own name (the last component of path) would hide
 * another one when the layer is read. */
int tree_check_layer_name(const char *path, struct error *err) _must_check_;

/* Calls report() for what the second tree has changed of the first: 'A' for what is new, 'D' for
 * what is gone, 'C' for what is different in owner, mode, kind, size, time, or below it. Contents
 * are not read. path is relative to the root. Sorted within each directory only. */
typedef int (*tree_report)(void *context, char kind, const char *path, struct error *err);
int tree_compare(int first_fd, int second_fd, tree_report report, void *context,
                 struct error *err) _must_check_;

/* Extracts the stream at in_fd. If path is an existing directory, under it; otherwise its parent
 * must exist, and the stream's single top entry gets the name path has. Owner, mode (setuid too)
 * and modification time are kept; a directory never replaces a file, nor a file a directory. On
 * failure the file in work is removed; what was complete stays. */
int tree_receive(int rootfd, const char *path, int in_fd, struct error *err) _must_check_;

/* As tree_receive, for bytes from an instance that arrive on the host: everything belongs to
 * uid:gid, setuid and setgid bits are dropped, device nodes are left out. sent is the path that
 * tree_send was asked for: entries whose names do not begin as it says are refused. */
int tree_receive_owned(int rootfd, const char *path, const char *sent, int in_fd, uid_t uid,
                       gid_t gid, struct error *err) _must_check_;

/* Fills the empty directory rootfd with a layer, as the lower directory of an overlay of a user
 * namespace (kernel/overlay.c): the stream has what is hidden as character devices 0:0 and
 * trusted.overlay.opaque, as on an EROFS. Attributes of files are kept (see tree_send_all), and so
 * are owners, unless `alone`: then everything is this user's, who has no other id. Device nodes,
 * which nobody could use there, are left out. */
int tree_receive_layer(int rootfd, bool alone, int in_fd, struct error *err) _must_check_;

/* An overlay's upper directory, or the roots of several layers, the topmost first, as one OCI
 * layer: whiteouts and opaque directories by name, sorted, hard links, capabilities and user
 * attributes kept, sockets left out. Times after newest_ns become newest_ns (INT64_MAX: all are
 * kept). Nobody may change the directories meanwhile. */
int tree_send_changes(const int *dirs, size_t n, int64_t newest_ns, int out_fd,
                      struct error *err) _must_check_;
int tree_has_changes(int upper_fd, bool *ret, struct error *err) _must_check_;
