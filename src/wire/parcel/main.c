/*
 * proa-parcel: everything that parses what another host, or a file from elsewhere, says of a
 * machine, in a process without privilege. Its descriptors are in program.h.
 *
 *   proa-parcel receive UID         a parcel's files into a folder
 *   proa-parcel receive-tls UID     the same from a client's connection, which is TLS
 *   proa-parcel try UID             reads certificate, key and authority, and ends
 *   proa-parcel dial UID HOST PORT  connects to a host that receives
 *
 * An error is one line on stderr, "KIND MESSAGE", as of proa-layer.
 */
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "wire/parcel/program.h"

static int run(int argc, char **argv, struct error *err)
{
    uint32_t uid;
    if (argc >= 3 && parse_u32(argv[2], &uid) == 0 && uid > 0) {
        if (argc == 3 && strcmp(argv[1], "receive") == 0)
            return receive_run(uid, false, err);
        if (argc == 3 && strcmp(argv[1], "receive-tls") == 0)
            return receive_run(uid, true, err);
        if (argc == 3 && strcmp(argv[1], "try") == 0)
            return try_run(uid, err);
        if (argc == 5 && strcmp(argv[1], "dial") == 0)
            return dial_run(uid, argv[3], argv[4], err);
    }
    return error_invalid(err, "usage: proa-parcel receive|receive-tls|try UID, dial UID HOST PORT");
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    if (run(argc, argv, &err) >= 0)
        return 0;
    fprintf(stderr, "%s %s\n", error_kind_name(err.kind), err.msg);
    return 1;
}
