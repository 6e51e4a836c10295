/* The options that bound an instance: `run` and `create` take them, and `update` for one that
 * runs. All fill a struct create_options that is the values' member `create`. */
#pragma once

#include "engine/options.h"
#include "front/command/options.h"

#define LIMIT_OPTIONS(values)                                                                      \
    OPT_U32(0, "blkio-weight", values, create.block_weight, "int",                                 \
            "Block I/O weight, 10 to 1000"),                                                       \
        OPT_U64(0, "cpu-period", values, create.cpu_period_us, "int",                              \
                "Length of a scheduling period in microseconds"),                                  \
        OPT_I64(0, "cpu-quota", values, create.cpu_quota_us, "int",                                \
                "Processor time in each period in microseconds; -1 for no limit"),                 \
        OPT_U64('c', "cpu-shares", values, create.cpu_shares, "int",                               \
                "CPU shares (relative weight)"),                                                   \
        OPT_MILLI(0, "cpus", values, create.cpus_milli, "decimal", "Number of CPUs"),              \
        OPT_STRING(0, "cpuset-cpus", values, create.cpuset, "string",                              \
                   "CPUs in which to run (0-3, 0,1)"),                                             \
        OPT_STRING(0, "cpuset-mems", values, create.cpuset_mems, "string",                         \
                   "Memory nodes from which to take memory (0-3, 0,1)"),                           \
        OPT_SIZE('m', "memory", values, create.memory_bytes, "bytes",                              \
                 "Memory limit; the memory of a machine"),                                         \
        OPT_SIZE(0, "memory-reservation", values, create.memory_reservation_bytes, "bytes",        \
                 "Memory that is kept for it when the host has little"),                           \
        OPT_STRING(0, "memory-swap", values, memory_swap, "bytes",                                 \
                   "Limit of memory and swap together; -1 for unlimited swap"),                    \
        OPT_STRING(0, "network-connections", values, create.network_connections, "int",            \
                   "Connections that it may have open on each network; none for any number"),      \
        OPT_STRING(0, "network-rate", values, create.network_rate, "rate",                         \
                   "Bits a second on each network (10mbit), or in=RATE,out=RATE; none to lift"),   \
        OPT_STRING(0, "network-priority", values, create.network_priority, "string",               \
                   "Whose packets go first when a link is full: low, normal, high"),               \
        OPT_I64(0, "pids-limit", values, create.pids_limit, "int",                                 \
                "Limit of processes; -1 for none"),                                                \
        OPT_STRING(0, "restart", values, create.restart, "string",                                 \
                   "Restart policy: no, on-failure[:N], always, unless-stopped")

/* --memory-swap: a size, or -1. NULL leaves *ret as it is. */
int cli_memory_swap(const char *text, int64_t *ret, struct error *err) _must_check_;
