/* Policy files: any bytes; and what those that are taken decide. */
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "wire/policy/evaluate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decide(const struct policy_document *list, size_t n)
{
    static const char *const addresses[] = {"10.1.0.2", "169.254.169.254", "fd00:ec2::254"};
    char *labels[] = {(char *)"app=web", NULL};
    const struct policy **sorted = xcalloc(n + 1, sizeof(*sorted));
    for (size_t i = 0; i < n; i++)
        sorted[i] = &list[i].policy;
    struct policy_endpoint from = {
        .side = POLICY_SIDE_INSTANCE, .stack = "default", .labels = labels};
    for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
        struct policy_endpoint to = {.side = POLICY_SIDE_WORLD, .has_address = true};
        struct policy_decision d;
        if (policy_address_parse(addresses[i], &to.address) < 0)
            abort();
        policy_evaluate(sorted, n, &from, &to, IPPROTO_TCP, 80, &d);
        free(policy_decision_text(&d));
    }
    free(sorted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct policy_document *list;
    size_t n;
    if (policy_parse((const char *)data, size, "fuzz", &list, &n, NULL) < 0)
        return 0;
    decide(list, n);
    for (size_t i = 0; i < n; i++) {
        struct policy_selector again;
        char *text = policy_selector_text(&list[i].policy.subject);
        if (policy_selector_from_text(text, &again, NULL) < 0)
            abort();
        char *second = policy_selector_text(&again);
        if (strcmp(text, second) != 0)
            abort();
        free(text);
        free(second);
        policy_selector_done(&again);
        struct policy stored;
        if (policy_parse_stored(list[i].json, &stored, NULL) < 0)
            abort();
        policy_done(&stored);
    }
    policy_documents_free(list, n);
    return 0;
}
