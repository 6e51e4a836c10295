#include "engine/engine.h"

#include <stdarg.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "engine/engine-internal.h"

int engine_open(const char *root, struct engine **ret, struct error *err)
{
    struct engine *e = xnew(struct engine);
    int r = store_open(root, &e->store, err);
    if (r == 0)
        r = repair_all(e, err);
    if (r < 0) {
        engine_close(e);
        return r;
    }
    *ret = e;
    return 0;
}

void engine_close(struct engine *e)
{
    if (!e)
        return;
    store_close(e->store);
    strv_free(e->notices);
    free(e);
}

void engine_notice(struct engine *e, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    strv_add(&e->notices, text);
}
