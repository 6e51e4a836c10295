/*
 * proa-seccomp --out FILE [--profile JSON] [--caps LIST]
 * proa-seccomp --oci
 *
 * --oci reads linux.seccomp on standard input and writes the instructions on standard output.
 * Otherwise compiles the default profile, or one in the form of Docker's files or of linux.seccomp,
 * into the instructions that the container runtime loads. LIST are the capabilities the process
 * will have.
 */
#include <fcntl.h>
#include <getopt.h>
#include <string.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/strv.h"
#include "runtime/seccomp/compile.h"

static int parse_caps(const char *list, uint64_t *ret, struct error *err)
{
    _cleanup_strv_ char **names = strv_split(list, ',');
    for (size_t i = 0; names[i]; i++) {
        unsigned int cap;
        if (oci_capability_from_name(names[i], &cap) < 0)
            return error_invalid(err, "unknown capability \"%s\"", names[i]);
        *ret |= UINT64_C(1) << cap;
    }
    return 0;
}

static int compile(const char *profile, uint64_t caps, struct buf *out, struct error *err)
{
    _cleanup_json_ json_t *json = NULL;
    struct oci_seccomp *s = NULL;
    int r;
    if (!profile)
        return seccomp_compile(&seccomp_default_profile, caps, out, err);
    if ((r = json_parse_file(AT_FDCWD, profile, &json, err)) < 0)
        return r;
    if (!json_is_object(json))
        return error_invalid(err, "%s: must be an object", profile);
    if ((r = oci_seccomp_from_json(json, profile, &s, err)) == 0)
        r = seccomp_compile(s, caps, out, err);
    oci_seccomp_free(s);
    return r;
}

static int compile_oci(struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(JSON_MAX_BYTES), out = BUF_INIT(SECCOMP_MAX_BYTES);
    _cleanup_json_ json_t *json = NULL;
    struct oci_seccomp *s = NULL;
    int r = fd_read_to_end(0, &text);
    if (r < 0)
        return error_errno(err, r, "read the profile");
    if ((r = json_parse(text.data, text.len, "linux.seccomp", &json, err)) < 0)
        return r;
    if (!json_is_object(json))
        return error_invalid(err, "linux.seccomp: must be an object");
    if ((r = oci_seccomp_from_json(json, "linux.seccomp", &s, err)) == 0)
        r = seccomp_compile(s, UINT64_MAX, &out, err);
    oci_seccomp_free(s);
    if (r == 0 && (r = fd_write_all(1, out.data, out.len)) < 0)
        r = error_errno(err, r, "write the program");
    return r;
}

/* What Docker gives a process that was started without --cap-add. */
static const char default_caps[] = "CHOWN,DAC_OVERRIDE,FSETID,FOWNER,MKNOD,NET_RAW,SETGID,SETUID,"
                                   "SETFCAP,SETPCAP,NET_BIND_SERVICE,SYS_CHROOT,KILL,AUDIT_WRITE";

static int run(int argc, char **argv, struct error *err)
{
    static const struct option options[] = {
        {"out", required_argument, NULL, 'o'},
        {"profile", required_argument, NULL, 'p'},
        {"caps", required_argument, NULL, 'c'},
        {"oci", no_argument, NULL, 'O'},
        {0},
    };
    const char *out_path = NULL, *profile = NULL, *caps_list = default_caps;
    _cleanup_buf_ struct buf out = BUF_INIT(JSON_MAX_BYTES);
    uint64_t caps = 0;
    int r;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'o')
            out_path = optarg;
        else if (option == 'p')
            profile = optarg;
        else if (option == 'c')
            caps_list = optarg;
        else if (option == 'O')
            return compile_oci(err);
        else
            return error_invalid(err, "usage: proa-seccomp --out FILE [--profile JSON] "
                                      "[--caps LIST]");
    }
    if (!out_path || optind < argc)
        return error_invalid(err, "usage: proa-seccomp --out FILE [--profile JSON] [--caps LIST]");
    if ((r = parse_caps(caps_list, &caps, err)) < 0 || (r = compile(profile, caps, &out, err)) < 0)
        return r;
    r = file_write_atomic(AT_FDCWD, out_path, out.data, out.len, 0600);
    return r < 0 ? error_errno(err, r, "write %s", out_path) : 0;
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    if (run(argc, argv, &err) == 0)
        return 0;
    fprintf(stderr, "proa-seccomp: %s\n", err.msg);
    return error_exit_code(&err);
}
