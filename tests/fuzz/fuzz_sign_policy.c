/* Policy files: any bytes; and what is found in those that are taken. */
#include <stdint.h>
#include <stdlib.h>

#include "base/strv.h"
#include "wire/sign/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"registry.example.com:5000/team/web:1", "docker.io/debian",
                                        "localhost/x"};
    struct trust_policy p;
    if (trust_policy_parse((const char *)data, size, "fuzz", &p, NULL) < 0)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_(reference_done) struct reference r = {0};
        if (reference_parse(names[i], &r, NULL) < 0)
            abort();
        _cleanup_strv_ char **scopes = trust_scopes_of_reference(&r);
        const struct trust_rule *rule = trust_policy_find(&p, "docker", scopes);
        if (rule->n_requirements == 0)
            abort();
        for (size_t k = 0; k < rule->n_requirements; k++)
            (void)!trust_identity_matches(&rule->requirements[k].identity, &r, names[i]);
    }
    trust_policy_done(&p);
    return 0;
}
