/*
 * One row for each thing that some kind refuses. A row looks at a member of the options as they are
 * stored: it is "given" when it is there, that is, when it differs from its default. A row with a
 * value is for that value only; one that ends with ":" is a beginning, one that begins with "!" is
 * for all values but the one after it.
 */
#include "engine/kinds.h"

#include <string.h>

#include "base/json.h"

#define MACHINES    (KIND_LIGHT | KIND_DISK)
#define ALL         (KIND_CONTAINER | MACHINES)
#define APPLICATION (KIND_CONTAINER | KIND_LIGHT)

#define OWN_SYSTEM "the system that is on the disk decides that"
#define OWN_BOOT   "a disk boots the system that is on it"
#define OWN_FILES  "nothing in the system on the disk would mount it"
#define OWN_WALLS  "a machine's walls are its own kernel and QEMU's"
#define DISK_ONLY  "only a machine that boots a disk image has one"
#define CLOUD_INIT "only the system of a disk image has cloud-init"
#define HOST_BOOT  "a container has the host's kernel; with --vm it has one of its own"

static const struct rule {
    const char *flag, *member, *value;
    unsigned int refused;
    const char *reason;
} rules[] = {
    {"--device", "devices", NULL, MACHINES, "a machine has no access to the host's devices"},
    {"--device-cgroup-rule", "device_rules", NULL, MACHINES,
     "a machine has no access to the host's devices"},
    {"--usb", "usb", NULL, KIND_CONTAINER, "a container has device nodes: --device"},
    {"--pci", "pci", NULL, KIND_CONTAINER, "a container has device nodes: --device"},
    {"--usb", "usb", NULL, KIND_LIGHT, "a machine has no access to the host's devices"},
    {"--pci", "pci", NULL, KIND_LIGHT, "a machine has no access to the host's devices"},
    {"--usb", "usb", NULL, KIND_DISK,
     "a machine gets no device of the host's; serve it over the network (USB/IP), or --disk "
     "/dev/NAME"},
    {"--pci", "pci", NULL, KIND_DISK,
     "a machine gets no device of the host's; a macvlan network is on a card's LAN, --disk "
     "/dev/NAME a disk"},
    {"--gpus", "gpus", NULL, ALL,
     "no GPU can be given yet; a container can have its device nodes with --device"},
    {"--network", "networks", "host", MACHINES,
     "a machine has its own network stack and cannot share the host's"},
    {"--network", "networks", "container:", MACHINES,
     "a machine has its own network stack and cannot share the container's"},
    {"--pid", "pid_mode", "!private", MACHINES,
     "a machine has a kernel of its own, which knows nobody else's processes"},
    {"--ipc", "ipc_mode", "!private", MACHINES,
     "a machine has a kernel of its own, which cannot share memory with others"},
    {"--ipc", "ipc_mode", "container:", KIND_CONTAINER,
     "two containers cannot share their /dev/shm; both can have --ipc host, or a --volume"},
    {"--uts", "uts_mode", "!private", MACHINES,
     "a machine has a kernel of its own, with a host name of its own"},
    {"--cgroupns", "cgroupns_mode", "host", MACHINES,
     "a machine has a kernel of its own, with control groups of its own"},
    {"--userns", "userns_mode", "!host", KIND_CONTAINER,
     "root of a container is root of the host, without its capabilities; say host, or --vm"},
    {"--userns", "userns_mode", "!host", MACHINES,
     "a machine has a kernel of its own, with users of its own"},
    {"--memory-swap", "memory_swap_bytes", NULL, MACHINES,
     "a machine has no swap; --memory is what it has"},
    {"--oom-kill-disable", "oom_kill_disable", NULL, MACHINES,
     "a machine's memory is its size, which its kernel cannot wait for more of"},
    {"--link", "links", NULL, ALL,
     "instances on one network find each other by name; give both the same --network"},
    {"--kernel", "kernel", NULL, KIND_CONTAINER, HOST_BOOT},
    {"--initrd", "initrd", NULL, KIND_CONTAINER, HOST_BOOT},
    {"--kernel-arg", "kernel_args", NULL, KIND_CONTAINER, HOST_BOOT},
    {"--disk-size", "disk_bytes", NULL, APPLICATION, DISK_ONLY},
    {"--disk-bus", "disk_bus", NULL, APPLICATION, DISK_ONLY},
    {"--disk", "disks", NULL, APPLICATION, DISK_ONLY},
    {"--cdrom", "cdroms", NULL, APPLICATION, DISK_ONLY},
    {"--firmware", "firmware", NULL, APPLICATION, DISK_ONLY},
    {"--secure-boot", "secure_boot", NULL, APPLICATION, DISK_ONLY},
    {"--tpm", "tpm", NULL, APPLICATION, DISK_ONLY},
    {"--cpu", "cpu_model", NULL, APPLICATION, DISK_ONLY},
    {"--rtc", "rtc", NULL, APPLICATION, DISK_ONLY},
    {"--boot", "boot", NULL, APPLICATION, DISK_ONLY},
    {"--graphics", "graphics", NULL, APPLICATION, DISK_ONLY},
    {"--os", "os", NULL, APPLICATION, DISK_ONLY},
    {"--nic", "nic", NULL, APPLICATION, DISK_ONLY},
    {"--max-cpus", "cpus_max", NULL, APPLICATION, DISK_ONLY},
    {"--max-memory", "memory_max", NULL, APPLICATION, DISK_ONLY},
    {"--no-warm", "no_warm", NULL, KIND_CONTAINER | KIND_DISK,
     "only a light machine goes on from a template"},
    {"--user-data", "user_data", NULL, APPLICATION, CLOUD_INIT},
    {"--meta-data", "meta_data", NULL, APPLICATION, CLOUD_INIT},
    {"--network-config", "network_config", NULL, APPLICATION, CLOUD_INIT},
    {"--ssh-key", "ssh_keys", NULL, APPLICATION, CLOUD_INIT},
    {"--cloud-user", "cloud_user", NULL, APPLICATION, CLOUD_INIT},
    {"--cloud-init=false", "no_cloud_init", NULL, APPLICATION, CLOUD_INIT},
    /* What is inside a disk's system is not arranged from outside. */
    {"a command", "command", NULL, KIND_DISK, OWN_BOOT},
    {"--entrypoint", "entrypoint", NULL, KIND_DISK, OWN_BOOT},
    {"--kernel", "kernel", NULL, KIND_DISK, OWN_BOOT},
    {"--initrd", "initrd", NULL, KIND_DISK, OWN_BOOT},
    {"--kernel-arg", "kernel_args", NULL, KIND_DISK, OWN_BOOT},
    {"--init", "init", NULL, KIND_DISK, OWN_BOOT},
    {"--volumes-from", "volumes_from", NULL, KIND_DISK, OWN_FILES},
    {"--volume", "volumes", NULL, KIND_DISK, OWN_FILES},
    {"--mount", "mounts", NULL, KIND_DISK, OWN_FILES},
    {"--tmpfs", "tmpfs", NULL, KIND_DISK, OWN_FILES},
    {"--shm-size", "shm_bytes", NULL, KIND_DISK, OWN_FILES},
    {"--env", "env", NULL, KIND_DISK, OWN_SYSTEM},
    {"--user", "user", NULL, KIND_DISK, OWN_SYSTEM},
    {"--group-add", "group_add", NULL, KIND_DISK, OWN_SYSTEM},
    {"--workdir", "working_dir", NULL, KIND_DISK, OWN_SYSTEM},
    {"--read-only", "read_only", NULL, KIND_DISK, OWN_SYSTEM},
    {"--pids-limit", "pids_limit", NULL, KIND_DISK, OWN_SYSTEM},
    {"--oom-score-adj", "oom_score_adj", NULL, KIND_DISK, OWN_SYSTEM},
    {"--ulimit", "ulimits", NULL, KIND_DISK, OWN_SYSTEM},
    {"--sysctl", "sysctls", NULL, KIND_DISK, OWN_SYSTEM},
    {"--no-hosts", "no_hosts", NULL, KIND_DISK, OWN_SYSTEM},
    {"--dns-option", "dns_options", NULL, KIND_DISK, OWN_SYSTEM},
    {"--domainname", "domainname", NULL, KIND_DISK, OWN_SYSTEM},
    {"--cap-add", "cap_add", NULL, KIND_DISK, OWN_WALLS},
    {"--cap-drop", "cap_drop", NULL, KIND_DISK, OWN_WALLS},
    {"--security-opt", "security_opt", NULL, KIND_DISK, OWN_WALLS},
    {"--privileged", "privileged", NULL, KIND_DISK, OWN_WALLS},
    {"--annotation", "annotations", NULL, KIND_DISK,
     "a machine of a disk image has no OCI configuration"},
    {"--stop-signal", "stop_signal", NULL, KIND_DISK,
     "a machine of a disk image is asked to shut down, and gets no signal"},
};

static bool starts_with(const char *text, const char *head)
{
    return strncmp(text, head, strlen(head)) == 0;
}

static bool is_value(const char *text, const char *wanted)
{
    if (!text)
        return false;
    if (wanted[0] == '!')
        return strcmp(text, wanted + 1) != 0;
    return wanted[strlen(wanted) - 1] == ':' ? starts_with(text, wanted)
                                             : strcmp(text, wanted) == 0;
}

static bool applies(const struct rule *rule, const json_t *given)
{
    const json_t *value = json_object_get(given, rule->member), *item;
    size_t i;
    bool any = false;
    if (!value || !rule->value)
        return value != NULL;
    json_array_foreach(value, i, item) any |= is_value(json_string_value(item), rule->value);
    return any || is_value(json_string_value(value), rule->value);
}

int kinds_check(const struct create_options *o, enum kind_bit kind, struct error *err)
{
    _cleanup_json_ json_t *given = create_options_to_json(o);
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
        if ((rules[i].refused & kind) && applies(&rules[i], given))
            return error_set(err, ERROR_UNSUPPORTED, ENOTSUP, "%s: %s", rules[i].flag,
                             rules[i].reason);
    return 0;
}
