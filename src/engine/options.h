/*
 * What a person can ask of an instance: the options of `run` and `create`, for both kinds. Kept in
 * the store as JSON, so that each start builds its bundle afresh from them.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "runtime/bundle.h"

/* All strings and vectors are owned; NULL or 0 means "not given" unless said otherwise. */
struct create_options {
    enum runtime_kind kind;
    char *image;
    char **command;
    char *name;
    char *hostname;
    char *user;
    char *working_dir;
    char *entrypoint; /* "" clears the image's */
    char **env;       /* NAME=VALUE; the front end has resolved bare NAMEs and env files */
    char **labels;    /* key=value */
    bool terminal, open_stdin, auto_remove, init, read_only, privileged, publish_all;
    char **volumes;  /* -v NAME|/HOST:/PATH[:ro,...] or /PATH */
    char **mounts;   /* --mount type=bind|volume|tmpfs,source=,target=,readonly */
    char **tmpfs;    /* /PATH[:options] */
    char **publish;  /* -p */
    char **networks; /* NULL: the default; "none", "host", or NAME[:ip=,...] (place.h) */
    char **network_aliases;
    char *ip, *ip6, *mac;      /* on the one network */
    char *network_rate;        /* network_rate_parse */
    char *network_priority;    /* network_priority_parse */
    char *network_connections; /* network_connections_parse */
    uint64_t memory_bytes;
    int64_t memory_swap_bytes; /* total of memory and swap; -1: unlimited */
    uint64_t shm_bytes;        /* 0: 64 MiB */
    uint64_t cpus_milli;       /* thousandths of a CPU */
    uint64_t cpu_shares;
    char *cpuset;
    int64_t pids_limit; /* 0: the default (2048); -1: none */
    char **cap_add, **cap_drop;
    char **security_opt; /* seccomp=unconfined|FILE, no-new-privileges[:true|false] */
    char **ulimits;      /* name=soft[:hard] */
    char **sysctls;      /* name=value */
    char **devices;      /* /dev/x[:/dev/y[:rwm]] */
    char **add_hosts;    /* name:address */
    char **dns;
    char *restart;          /* no, on-failure[:n], always, unless-stopped */
    char *stop_signal;      /* name or number */
    int32_t stop_timeout_s; /* -1: the default, 10 */
    uint64_t log_max_bytes;
    uint32_t log_files;
    bool no_warm; /* vm: boots even where there is a template */
    char *kernel; /* of a machine: a name, or a file when it has a "/" */
    char *initrd; /* a file whose files are in the machine's initramfs, too */
    char **kernel_args;
    /* Of machines that boot a disk. */
    uint64_t disk_bytes; /* size of the first disk; 0: as the image's */
    char *disk_bus;      /* virtio, scsi or sata */
    char **disks;        /* engine/machine-disks.h */
    char **cdroms;       /* paths */
    char *firmware;      /* bios or uefi */
    bool secure_boot, tpm;
    char *cpu_model;
    uint32_t cpus_max; /* with those that may be plugged in */
    uint64_t memory_max;
    char *rtc;         /* utc or localtime */
    char *boot;        /* disk, cdrom and network, in their order */
    char *graphics;    /* none or vnc */
    char *os;          /* linux, windows, other */
    char *nic;         /* virtio or e1000e */
    char **usb, **pci; /* devices of the host: refused */
    /* For cloud-init inside: texts, once the instance is made; what the flags name before that. */
    char *user_data, *meta_data, *network_config;
    char **ssh_keys;
    char *cloud_user;
    bool no_cloud_init, cloud_read; /* the second: they are texts by now */
    char *platform;                 /* os/arch[/variant]: refused when it is not the image's */
    char *health_cmd;               /* for a shell; NULL: the image's */
    bool no_healthcheck;
    uint64_t health_interval_ms, health_timeout_ms; /* 0: the image's, or the default */
    uint64_t health_start_period_ms, health_start_interval_ms;
    uint32_t health_retries;
    uint64_t memory_reservation_bytes;
    int64_t cpu_quota_us; /* -1: none; instead of cpus_milli */
    uint64_t cpu_period_us;
    char *cpuset_mems;
    uint32_t block_weight; /* 10 to 1000 */
    bool oom_kill_disable;
    int32_t oom_score_adj;
    char **group_add; /* names or numbers of the image's groups */
    char *domainname;
    bool no_hosts;
    char **dns_search, **dns_options;
    char **annotations;  /* key=value */
    char **expose;       /* PORT[-PORT][/proto], for publish_all */
    char **volumes_from; /* NAME[:ro|rw]; in volumes once the instance is made */
    char **device_rules; /* as the kernel's devices.allow: "c 1:3 rwm" */
    char *cgroup_parent;
    char *pid_mode, *ipc_mode, *uts_mode; /* NULL: private; "host", "container:NAME" */
    char *cgroupns_mode, *userns_mode;    /* "private", "host" */
    char *gpus;                           /* always refused, with a reason (kinds.c) */
    char **links;                         /* so, too */
};

void create_options_init(struct create_options *o);
void create_options_done(struct create_options *o);
/* Limits and the restart policy that are given in from replace those of o. */
void create_options_take_limits(struct create_options *o, const struct create_options *from);
json_t *create_options_to_json(const struct create_options *o);
int create_options_from_json(const json_t *json, struct create_options *ret,
                             struct error *err) _must_check_;
