/*
 * Settings of machines, from /etc/proa/machines.json, or RUN/machines.json until the next boot,
 * which wins:
 *
 *   {"warm": false}     each light machine boots by itself; by default they go on from templates
 *   {"spares": 2}       so many light machines, of the shapes that were started last, wait for a
 *                       `run` that wants one (engine/spare.h); 1 by default
 *   {"cards": 2}        so many networks can a light machine join while it runs; 1 by default
 *
 * A word that is not known, or a value of another type, is an error.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define VM_SPARES_MAX 16u

struct vm_settings {
    bool warm;
    uint32_t spares;
    uint32_t cards; /* more than it has networks at its start */
};
int vm_settings_load(const char *run, struct vm_settings *ret, struct error *err) _must_check_;
