/*
 * Settings of machines, from /etc/proa/machines.json, or RUN/machines.json until the next boot,
 * which wins:
 *
 *   {"warm": false}     machines boot, each by itself; by default they go on from templates
 *
 * A word that is not known, or a value of another type, is an error.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct vm_settings {
    bool warm;
};
int vm_settings_load(const char *run, struct vm_settings *ret, struct error *err) _must_check_;
