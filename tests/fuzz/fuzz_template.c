/* The first line is a template, the rest a JSON document (a fixed one when it is none). */
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "front/cli/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char fallback[] = "{\"A\":\"x\",\"B\":{\"C\":[1,2,{\"D\":true}]},\"L\":[\"a\",\"b\"],"
                               "\"N\":null,\"E\":\"\\u001b\"}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 65536)
        return 0;
    char *text = xstrndup((const char *)data, size);
    char *document = strchr(text, '\n');
    json_t *dot = NULL;
    struct buf out = BUF_INIT(65536);
    struct error err = ERROR_INIT;
    if (document)
        *document++ = '\0';
    if (!document || json_parse(document, strlen(document), "fuzz", &dot, &err) < 0)
        dot = json_loads(fallback, 0, NULL);
    if (template_render(text, dot, true, &out, &err) == 0)
        for (size_t i = 0; i < out.len; i++)
            if (out.data[i] == 0x7f)
                if (!strchr(text, 0x7f))
                    abort();
    buf_done(&out);
    json_decref(dot);
    free(text);
    return 0;
}
