/* info, version. */
#include <string.h>
#include <sys/utsname.h>

#include "base/json.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/system.h"
#include "front/cli/commands.h"
#include "front/cli/row.h"
#include "front/cli/session.h"

struct format_values {
    struct list_values list;
};
static const struct cli_option format_table[] = {
    OPT_STRING('f', "format", struct format_values, list.format, "string",
               "Print with a template, or json"),
};

/* Prints one object by a template or as JSON. */
static int print_object(json_t *object, const char *format)
{
    struct error err = ERROR_INIT;
    _cleanup_json_ json_t *list = json_array();
    json_array_append(list, object);
    if (strcmp(format, "json") == 0)
        format = "{{json .}}";
    return inspect_print(list, format, &err) < 0 ? cli_failed(&err) : 0;
}

/* --- info --- */

static json_t *info_json(const struct system_info *i)
{
    json_t *o = json_object();
    json_object_set_new(o, "Containers", json_integer((json_int_t)i->instances));
    json_object_set_new(o, "ContainersRunning", json_integer((json_int_t)i->running));
    json_object_set_new(o, "ContainersPaused", json_integer((json_int_t)i->paused));
    json_object_set_new(o, "ContainersStopped", json_integer((json_int_t)i->stopped));
    json_object_set_new(o, "KindContainer", json_integer((json_int_t)i->containers));
    json_object_set_new(o, "KindMachine", json_integer((json_int_t)i->machines));
    json_object_set_new(o, "Images", json_integer((json_int_t)i->images));
    json_object_set_new(o, "ServerVersion", json_text(i->version));
    json_object_set_new(o, "ProaRootDir", json_text(i->root));
    json_object_set_new(o, "ProaRunDir", json_text(i->run));
    json_object_set_new(o, "KernelVersion", json_text(i->kernel));
    json_object_set_new(o, "OperatingSystem", json_text(i->os));
    json_object_set_new(o, "OSType", json_string("linux"));
    json_object_set_new(o, "Architecture", json_text(i->architecture));
    json_object_set_new(o, "Name", json_text(i->hostname));
    json_object_set_new(o, "NCPU", json_integer(i->cpus));
    json_object_set_new(o, "MemTotal", json_integer((json_int_t)i->memory_bytes));
    json_object_set_new(o, "CgroupVersion", json_text(i->cgroup));
    json_object_set_new(o, "Accelerator", json_text(i->accelerator));
    json_object_set_new(o, "MachineKernel", i->vm_kernel ? json_text(i->vm_kernel) : json_null());
    json_object_set_new(o, "MachineTemplates", json_texts(i->templates));
    json_object_set_new(o, "SecurityOptions", json_texts(i->security));
    return o;
}

static void print_info(const struct system_info *i)
{
    _cleanup_free_ char *security = i->security ? strv_join(i->security, ", ") : NULL;
    printf("Version: %s\n", i->version);
    printf("Instances: %zu (%zu containers, %zu machines)\n", i->instances, i->containers,
           i->machines);
    printf(" Running: %zu\n Paused: %zu\n Stopped: %zu\n", i->running, i->paused, i->stopped);
    printf("Images: %zu\n", i->images);
    printf("State: %s\nVolatile state: %s\n", i->root, i->run);
    printf("Cgroup: %s\n", i->cgroup);
    printf("Machines run with: %s\n", i->accelerator);
    printf("Kernel for machines: %s\n",
           i->vm_kernel ? i->vm_kernel : "none yet (`proa kernel add` prepares one)");
    for (size_t k = 0; i->templates && i->templates[k]; k++)
        printf(" Template %s\n", i->templates[k]);
    printf("Security: %s\n", security ? security : "none");
    printf("Kernel: %s\nOperating system: %s\nArchitecture: %s\n", i->kernel, i->os,
           i->architecture);
    printf("CPUs: %u\nMemory: %s\nName: %s\n", i->cpus, format_size_binary(i->memory_bytes).s,
           i->hostname);
}

static int handle_info(struct cli *cli, void *values, char **args)
{
    const struct format_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    _cleanup_(system_info_done) struct system_info info = {0};
    (void)args;
    if (cli_engine(cli, &e, &err) < 0 || engine_info(e, &info, &err) < 0)
        return cli_failed(&err);
    if (v->list.format) {
        _cleanup_json_ json_t *o = info_json(&info);
        return print_object(o, v->list.format);
    }
    print_info(&info);
    return 0;
}

const struct command cmd_info = {
    .name = "info",
    .aliases = "system info",
    .usage = "[OPTIONS]",
    .summary = "Show what Proa and this host are",
    .sets = {OPTION_SET(format_table)},
    .values_size = sizeof(struct format_values),
    .section = SECTION_COMMON,
    .run = handle_info,
};

/* --- version --- */

static int handle_version(struct cli *cli, void *values, char **args)
{
    const struct format_values *v = values;
    struct utsname host = {0};
    (void)cli;
    (void)args;
    if (uname(&host) < 0)
        return 1;
    if (!v->list.format) {
        printf("Proa:\n Version:     %s\n OS/Arch:     linux/%s\n Kernel:      %s\n", PROA_VERSION,
               host.machine, host.release);
        return 0;
    }
    _cleanup_json_ json_t *o = json_object(), *client = json_object();
    row_set(client, "Version", PROA_VERSION);
    row_set(client, "Os", "linux");
    row_set(client, "Arch", host.machine);
    row_set(client, "KernelVersion", host.release);
    /* Daemonless: what asks and what does are one program. */
    json_object_set(o, "Client", client);
    json_object_set(o, "Server", client);
    return print_object(o, v->list.format);
}

const struct command cmd_version = {
    .name = "version",
    .usage = "[OPTIONS]",
    .summary = "Show the version",
    .sets = {OPTION_SET(format_table)},
    .values_size = sizeof(struct format_values),
    .section = SECTION_COMMON,
    .run = handle_version,
};
