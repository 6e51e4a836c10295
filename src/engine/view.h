/* What ps and inspect show: the store's record and the monitor's truth, joined. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"
#include "engine/lifecycle.h"
#include "engine/options.h"
#include "runtime/monitor/client.h"
#include "service/network/network.h"

struct view_mount {
    char *type; /* "bind", "volume", "tmpfs" */
    char *name; /* volume name or NULL */
    char *source, *target;
    bool read_only;
};

/* On one network; addresses are text, NULL where there is none. */
struct view_port {
    char *network, *network_id;
    char *address, *gateway, *address6, *gateway6, *mac;
    uint8_t prefix, prefix6;
    char **aliases;
};

struct instance_view {
    char *id, *name, *image_id, *image_name;
    enum runtime_kind kind;
    int64_t created_ns;
    bool auto_remove;
    enum instance_state state;
    char *halted;            /* why a machine paused by itself; NULL: it did not */
    char *silent;            /* who of a machine that runs does not answer; NULL: all do */
    int64_t silent_since_ns; /* then */
    struct monitor_status status;
    struct create_options options;
    char **argv;                /* the whole command: entrypoint and arguments */
    char *network;              /* "proa", "none", "host", ...; of several the first */
    struct view_port *networks; /* each network that the options name; addresses while reserved */
    size_t n_networks;
    struct network_publish *ports;
    size_t n_ports;
    struct view_mount *mounts;
    size_t n_mounts;
    json_t *guest;  /* what the system on a disk says of itself (vm_guest_info); NULL: unknown */
    json_t *health; /* as health_load() has it; NULL: no health check */
    char *log_path;
    char *bundle;
};

void instance_view_free(struct instance_view *v); /* takes NULL */
DEFINE_CLEANUP(struct instance_view *, instance_view_free)
#define _cleanup_view_ _cleanup_(instance_view_free_cleanup)

/* Whether it is on a network of that name (or is called "none", "host"). */
bool view_is_on(const struct instance_view *v, const char *network);

/* Newest first; all: stopped ones too. *ret is an owned NULL-terminated vector. */
int engine_list(struct engine *e, bool all, struct instance_view ***ret,
                struct error *err) _must_check_;
void engine_list_free(struct instance_view **list);
int engine_view(struct engine *e, const char *reference, struct instance_view **ret,
                struct error *err) _must_check_;
