/*
 * Settings of machines, from /etc/proa/machines.json, or RUN/machines.json until the next boot,
 * which wins:
 *
 *   {"warm": true}      light machines go on from templates; by default each boots by itself
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
