/* Lists of processors and memory nodes, "0-3,7" as in cpuset(7). */
#pragma once

#include "base/error.h"

#define NUMBER_SET_MAX 4095

struct number_set {
    unsigned long bits[(NUMBER_SET_MAX + 1) / (8 * sizeof(unsigned long))];
};

/* -EINVAL for what is no list, and for an empty one. */
int number_set_parse(const char *list, struct number_set *ret) _must_check_;

/* The calling thread, and what it starts, runs on these only; NULL: on any. */
int processors_use(const char *list, struct error *err) _must_check_;
