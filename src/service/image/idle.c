/* Unmounting the layers of images that no instance is made from. */
#include <dirent.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/image/internal.h"
#include "wire/image/digest.h"

/* Hex ids of all layers that some instance, running or not, needs. */
static int needed_layers(struct store *s, char ***ret, struct error *err)
{
    struct store_image *rows = NULL;
    _cleanup_strv_ char **needed = strv_copy(NULL);
    int r = store_image_list(s, &rows, err);
    if (r < 0)
        return r;
    for (size_t n = 0; r == 0 && rows[n].id; n++) {
        _cleanup_free_ char *user = NULL;
        r = store_image_user(s, rows[n].id, &user, err);
        for (size_t i = 0; user && i < rows[n].n_layers; i++)
            strv_add(&needed, digest_hex(rows[n].layers[i].diff_id));
    }
    store_image_list_free(rows);
    if (r == 0)
        *ret = TAKE_PTR(needed);
    return r;
}

static void unmount_others(struct store *s, char *const *needed)
{
    const char *ending = image_layers_are_mounted() ? "" : IMAGE_TREE;
    _cleanup_free_ char *path = xasprintf("%s/layers", *ending ? s->root : s->run);
    DIR *dir = opendir(path);
    struct dirent *e;
    while (dir && (e = readdir(dir))) {
        _cleanup_free_ char *hex = xstrndup(e->d_name, 64);
        if (is_hex(hex, 64) && strcmp(e->d_name + strlen(hex), ending) == 0 &&
            !strv_has(needed, hex))
            (void)image_unmount_layer(s, hex);
    }
    if (dir)
        closedir(dir);
}

/* Within a write transaction, so that no instance is added between looking and unmounting. */
int image_unmount_idle(struct store *s, struct error *err)
{
    _cleanup_strv_ char **needed = NULL;
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = needed_layers(s, &needed, err);
    if (r == 0)
        unmount_others(s, needed);
    int ended = store_end(s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : ended;
}
