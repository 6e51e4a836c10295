/* A port's addresses under the policies (service/policy): from its attach to its end. */
#include "base/alloc.h"
#include "base/strv.h"
#include "service/network/network-internal.h"
#include "service/policy/policy.h"

static char **addresses_of(const struct store_port *row)
{
    char **list = strv_copy(NULL);
    if (row->address.s_addr)
        strv_add(&list, address_text(row->address).s);
    if (!IN6_IS_ADDR_UNSPECIFIED(&row->address6))
        strv_add(&list, address6_text(&row->address6).s);
    return list;
}

int port_join_policies(struct store *s, const struct store_port *row, const char *name,
                       struct error *err)
{
    _cleanup_strv_ char **list = addresses_of(row);
    return policy_join(s, row->instance_id, name, row->network, list, err);
}

void port_leave_policies(struct store *s, const struct store_port *row)
{
    _cleanup_strv_ char **list = addresses_of(row);
    (void)policy_leave(s, list, NULL);
}
