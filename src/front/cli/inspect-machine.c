#include "base/json.h"
#include "front/cli/inspect.h"

static void set_text(json_t *o, const char *key, const char *value, const char *usual)
{
    json_object_set_new(o, key, json_string(value ? value : usual));
}

json_t *inspect_machine(const struct create_options *q)
{
    json_t *o = json_object();
    set_text(o, "Firmware", q->firmware, "bios");
    json_object_set_new(o, "SecureBoot", json_boolean(q->secure_boot));
    json_object_set_new(o, "Tpm", json_boolean(q->tpm));
    set_text(o, "Os", q->os, "linux");
    set_text(o, "Cpu", q->cpu_model, "");
    set_text(o, "Clock", q->rtc, "utc");
    set_text(o, "Boot", q->boot, "disk,cdrom");
    set_text(o, "Graphics", q->graphics, "none");
    set_text(o, "NetworkCard", q->nic, "virtio");
    set_text(o, "DiskBus", q->disk_bus, "virtio");
    json_object_set_new(o, "DiskSize", json_integer((json_int_t)q->disk_bytes));
    json_object_set_new(o, "Disks", json_from_strv(q->disks));
    json_object_set_new(o, "Cdroms", json_from_strv(q->cdroms));
    json_object_set_new(o, "MaxCpus", json_integer(q->cpus_max));
    json_object_set_new(o, "MaxMemory", json_integer((json_int_t)q->memory_max));
    return o;
}
