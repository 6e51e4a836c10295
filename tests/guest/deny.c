/*
 * deny SYSCALL[,SYSCALL...] [--] COMMAND [ARG...]
 *
 * Runs COMMAND as on a kernel that does not have these system calls: a filter answers them with
 * ENOSYS, in the command and in everything that it starts. A name that libseccomp does not know yet
 * is taken from the table below; a number is taken as it is. As root the filter needs no
 * no_new_privs, so set-user-ID programs go on working.
 *
 * Exit status: that of COMMAND, 125 when the filter cannot be installed, 127 when there is no
 * COMMAND.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macro.h"

static const struct {
    const char *name;
    int nr;
} newer[] = {
    {"set_mempolicy_home_node", 450},
    {"cachestat", 451},
    {"fchmodat2", 452},
    {"statmount", 457},
    {"listmount", 458},
    {"lsm_get_self_attr", 459},
    {"setxattrat", 463},
    {"open_tree_attr", 467},
};

static int syscall_number(const char *name)
{
    char *end = NULL;
    long nr = strtol(name, &end, 10);
    if (*name && !*end && nr >= 0 && nr < 4096)
        return (int)nr;
    for (size_t i = 0; i < ARRAY_SIZE(newer); i++)
        if (strcmp(newer[i].name, name) == 0)
            return newer[i].nr;
    return seccomp_syscall_resolve_name(name);
}

static int fill(scmp_filter_ctx filter, char *list)
{
    char *rest = NULL;
    for (char *name = strtok_r(list, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        int nr = syscall_number(name);
        if (nr < 0) {
            fprintf(stderr, "deny: there is no system call %s here\n", name);
            return -1;
        }
        int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), nr, 0);
        if (r < 0) {
            fprintf(stderr, "deny: %s: %s\n", name, strerror(-r));
            return -1;
        }
    }
    return 0;
}

static int install(char *list)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int r = filter ? fill(filter, list) : -1;
    if (r == 0 && geteuid() == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
    if (r == 0) {
        r = seccomp_load(filter);
        if (r < 0)
            fprintf(stderr, "deny: install the filter: %s\n", strerror(-r));
    }
    seccomp_release(filter);
    return r;
}

int main(int argc, char **argv)
{
    int command = argc > 2 && strcmp(argv[2], "--") == 0 ? 3 : 2;
    if (argc <= command) {
        fprintf(stderr, "usage: deny SYSCALL[,SYSCALL...] [--] COMMAND [ARG...]\n");
        return 125;
    }
    if (install(argv[1]) != 0)
        return 125;
    execvp(argv[command], argv + command);
    fprintf(stderr, "deny: %s: %s\n", argv[command], strerror(errno));
    return 127;
}
