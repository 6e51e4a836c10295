/*
 * proa-seccomp --oci
 * proa-seccomp [--docker] [--caps MASK]
 *
 * Writes on standard output the instructions that the container runtime loads: of linux.seccomp on
 * standard input (--oci), of a file in Docker's form there (--docker), or of the default profile.
 * MASK are the capabilities that the process may have, in hexadecimal: what a rule asks for.
 */
#include <getopt.h>
#include <string.h>

#include "base/fd.h"
#include "base/json.h"
#include "runtime/seccomp/compile.h"

static int read_profile(struct oci_seccomp **ret, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(JSON_MAX_BYTES);
    _cleanup_json_ json_t *json = NULL;
    int r = fd_read_to_end(0, &text);
    if (r < 0)
        return error_errno(err, r, "read the profile");
    if ((r = json_parse(text.data, text.len, "the profile", &json, err)) < 0)
        return r;
    if (!json_is_object(json))
        return error_invalid(err, "the profile: must be an object");
    return oci_seccomp_from_json(json, "linux.seccomp", ret, err);
}

static int parse_mask(const char *text, uint64_t *ret)
{
    char *end = NULL;
    errno = 0;
    *ret = strtoull(text, &end, 16);
    return errno || end == text || *end ? -EINVAL : 0;
}

static int write_program(const struct oci_seccomp *profile, uint64_t caps, struct error *err)
{
    _cleanup_buf_ struct buf out = BUF_INIT(SECCOMP_MAX_BYTES);
    int r = seccomp_compile(profile, caps, &out, err);
    if (r == 0 && (r = fd_write_all(1, out.data, out.len)) < 0)
        r = error_errno(err, r, "write the program");
    return r;
}

static int run(int argc, char **argv, struct error *err)
{
    static const struct option options[] = {
        {"caps", required_argument, NULL, 'c'},
        {"docker", no_argument, NULL, 'd'},
        {"oci", no_argument, NULL, 'o'},
        {0},
    };
    struct oci_seccomp *given = NULL;
    bool reads = false, bad = false;
    uint64_t caps = UINT64_MAX;
    int r;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'c')
            bad |= parse_mask(optarg, &caps) < 0;
        reads |= option == 'd' || option == 'o';
        caps = option == 'o' ? UINT64_MAX : caps;
        bad |= option == '?';
    }
    if (bad || optind < argc)
        return error_invalid(err, "usage: proa-seccomp --oci | [--docker] [--caps MASK]");
    if (reads && (r = read_profile(&given, err)) < 0)
        return r;
    r = write_program(given ? given : &seccomp_default_profile, caps, err);
    oci_seccomp_free(given);
    return r;
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    if (run(argc, argv, &err) == 0)
        return 0;
    fprintf(stderr, "proa-seccomp: %s\n", err.msg);
    return error_exit_code(&err);
}
