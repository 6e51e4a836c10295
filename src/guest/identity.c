#include "base/text.h"
#include "guest/guest.h"

int guest_identity_apply(const struct guest_spawn *s, struct error *err)
{
    const struct oci_user *u = &s->process->user;
    int r = guest_credentials_apply(s->process, u->uid, u->gid, u->additional_gids,
                                    u->n_additional_gids, s->privileged, err);
    if (r < 0)
        return r;
    if (chdir(s->cwd) < 0)
        return error_errno(err, errno, "enter the working directory %s", s->cwd);
    return 0;
}
