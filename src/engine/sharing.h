/*
 * What an instance shares with the host or with another instance: namespaces by --pid, --ipc, --uts
 * and --cgroupns, a place among the host's control groups, and another's mounts (--volumes-from).
 */
#pragma once

#include <jansson.h>

#include "engine/engine.h"
#include "engine/options.h"

/* Whether the words are words, and the instances that they name exist. */
int check_sharing(struct engine *e, const struct create_options *o, struct error *err) _must_check_;

/* linux.namespaces: those that are shared with the host are left out, those of another instance,
 * which must run now, have a path. *ret is owned. */
int sharing_namespaces(struct engine *e, const struct create_options *o, json_t **ret,
                       struct error *err) _must_check_;

/* Puts what the instances of --volumes-from have mounted into o->volumes and o->tmpfs, except where
 * o has something for the same path. */
int sharing_take_volumes(struct engine *e, struct create_options *o,
                         struct error *err) _must_check_;
