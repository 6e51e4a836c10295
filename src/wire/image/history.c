#include "wire/image/history.h"

#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/text.h"

void image_history_done(struct image_history *h)
{
    for (size_t i = 0; i < h->n_steps; i++) {
        free(h->steps[i].created_by);
        free(h->steps[i].comment);
        free(h->steps[i].author);
    }
    free(h->steps);
    memset(h, 0, sizeof(*h));
}

static int parse_step(const json_t *o, struct image_history_step *step, struct error *err)
{
    static const char what[] = "history";
    const char *created = NULL, *by = NULL, *comment = NULL, *author = NULL;
    int r;
    if ((r = json_get_string(o, what, "created", &created, err)) < 0 ||
        (r = json_get_string(o, what, "created_by", &by, err)) < 0 ||
        (r = json_get_string(o, what, "comment", &comment, err)) < 0 ||
        (r = json_get_string(o, what, "author", &author, err)) < 0 ||
        (r = json_get_bool(o, what, "empty_layer", &step->empty, err)) < 0)
        return r;
    if (created && time_parse(created, &step->created_ns) < 0)
        step->created_ns = 0; /* told, not relied on */
    step->created_by = xstrdup(by);
    step->comment = xstrdup(comment);
    step->author = xstrdup(author);
    return 0;
}

int image_history_parse(const char *config, size_t len, struct image_history *ret,
                        struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    json_t *list = NULL, *step;
    size_t i;
    int r;
    memset(ret, 0, sizeof(*ret));
    if ((r = json_parse(config, len, "configuration", &o, err)) < 0 ||
        (r = json_get_array(o, "configuration", "history", &list, err)) < 0 || !list)
        return r;
    if (json_array_size(list) > IMAGE_HISTORY_MAX)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "a history of more than %u steps",
                         IMAGE_HISTORY_MAX);
    ret->steps = xcalloc(json_array_size(list) + 1, sizeof(*ret->steps));
    json_array_foreach(list, i, step)
    {
        ret->n_steps++;
        if ((r = parse_step(step, &ret->steps[i], err)) < 0) {
            image_history_done(ret);
            return r;
        }
    }
    return 0;
}
