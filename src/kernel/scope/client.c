/* Runs proa-scope. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/process.h"
#include "base/program.h"
#include "base/strv.h"
#include "kernel/cgroup.h"
#include "kernel/scope/scope.h"

#define MAX_ANSWER 4096

bool scope_is_user(void)
{
    return !process_is_host_root();
}

/* The bus of a user is found by these. */
static char **environment(void)
{
    static const char *const names[] = {"XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"};
    char **env = strv_copy(NULL);
    for (size_t i = 0; i < ARRAY_SIZE(names) && scope_is_user(); i++)
        if (getenv(names[i]))
            strv_addf(&env, "%s=%s", names[i], getenv(names[i]));
    return env;
}

static char **command(const char *verb, const char *unit)
{
    char **argv = NULL;
    strv_add(&argv, "proa-scope");
    strv_add(&argv, verb);
    strv_add(&argv, scope_is_user() ? "--user" : "--system");
    strv_add(&argv, unit);
    return argv;
}

static void add_properties(char ***argv, char *const *properties)
{
    for (size_t i = 0; properties && properties[i]; i++)
        strv_add(argv, properties[i]);
}

static int run(char **argv, struct buf *out, struct error *err)
{
    _cleanup_free_ char *path = NULL;
    _cleanup_strv_ char **env = environment();
    _cleanup_buf_ struct buf complaints = BUF_INIT(MAX_ANSWER);
    int status, r = program_find("proa-scope", &path, err);
    if (r < 0)
        return r;
    const struct process_spec spec = {.path = path, .argv = argv, .env = env};
    const struct process_capture capture = {.out = out, .err = &complaints};
    if ((r = process_capture(&spec, &capture, &status, err)) < 0 || status == 0)
        return r;
    char *why = complaints.data ? complaints.data : (char *)"";
    why[strcspn(why, "\n")] = '\0';
    return error_set(err, ERROR_SYSTEM, EIO, "systemd: %s", *why ? why : "proa-scope failed");
}

int scope_check_host(struct error *err)
{
    if (access("/run/systemd/system", F_OK) < 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "the systemd manager of control groups needs systemd, which does not run "
                         "here: use --cgroup-manager cgroupfs");
    if (!cgroup_is_v2_host())
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "the systemd manager needs control groups v2, which this host does not "
                         "use: use --cgroup-manager cgroupfs");
    return 0;
}

int scope_start(const struct scope_name *n, pid_t pid, const char *description,
                char *const *properties, char **ret_group, struct error *err)
{
    _cleanup_buf_ struct buf out = BUF_INIT(MAX_ANSWER);
    _cleanup_strv_ char **argv = command("start", n->unit);
    strv_addf(&argv, "%d", (int)pid);
    strv_addf(&argv, "Slice=s %s", n->slice);
    strv_addf(&argv, "Description=s %s", description);
    add_properties(&argv, properties);
    int r = run(argv, &out, err);
    if (r < 0)
        return r;
    char *group = buf_take(&out);
    group[strcspn(group, "\n")] = '\0';
    if (cgroup_path_check(group, err) < 0) {
        free(group);
        return error_prefix(err, "proa-scope");
    }
    *ret_group = group;
    return 0;
}

int scope_set(const char *unit, char *const *properties, struct error *err)
{
    _cleanup_strv_ char **argv = command("set", unit);
    if (!properties || !properties[0])
        return 0;
    add_properties(&argv, properties);
    return run(argv, NULL, err);
}

int scope_attach(const char *unit, pid_t pid, struct error *err)
{
    _cleanup_strv_ char **argv = command("attach", unit);
    strv_addf(&argv, "%d", (int)pid);
    return run(argv, NULL, err);
}

int scope_stop(const char *unit, struct error *err)
{
    _cleanup_strv_ char **argv = command("stop", unit);
    return run(argv, NULL, err);
}
