/* /etc/passwd, /etc/group and the user given, separated by NUL. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/passwd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct passwd_user u = {0};
    char *text = calloc(size + 3, 1);
    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    const char *passwd = text, *group = passwd + strlen(passwd) + 1;
    group = group > text + size ? text + size : group;
    const char *spec = group + strlen(group) + 1;
    spec = spec > text + size + 1 ? text + size + 1 : spec;
    if (passwd_lookup_text(passwd, group, spec, &u, NULL) == 0)
        passwd_user_done(&u);
    free(text);
    return 0;
}
