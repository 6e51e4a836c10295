/* The network's texts: ports to publish, subnets, hardware addresses, names. */
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "service/network/network-internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = xstrndup((const char *)data, size);
    _cleanup_free_ struct network_publish *list = NULL;
    struct error err = ERROR_INIT;
    struct in_addr subnet;
    struct in6_addr subnet6;
    struct link_mac mac;
    uint8_t prefix;
    size_t n = 0;
    if (network_publish_parse(text, &list, &n, &err) == 0)
        for (size_t i = 0; i < n; i++)
            if (list[i].port == 0 ||
                (list[i].protocol != IPPROTO_TCP && list[i].protocol != IPPROTO_UDP &&
                 list[i].protocol != IPPROTO_SCTP))
                abort();
    if (subnet_parse(text, &subnet, &prefix, &err) == 0 && (prefix < 8 || prefix > 29))
        abort();
    if (subnet6_parse(text, &subnet6, &prefix, &err) == 0 && (prefix < 16 || prefix > 96))
        abort();
    if (link_mac_parse(text, &mac) == 0 && mac.bytes[0] & 1)
        abort();
    if (names_valid(text) && strpbrk(text, " \n\t/#"))
        abort();
    return 0;
}
