#include "base/json.h"
#include "wire/disk/disk.h"

json_t *disk_file_node(const char *path, bool read_only)
{
    return json_pack("{s:s,s:s,s:b,s:s}", "driver", "file", "filename", path, "read-only",
                     (int)read_only, "locking", "off");
}

json_t *disk_chain_node(size_t n, const char *(*path)(void *context, size_t part, bool map),
                        void *context)
{
    json_t *top = json_null();
    for (size_t i = n; i > 0; i--) {
        const char *map = path(context, i - 1, true);
        json_t *o = json_object();
        json_object_set_new(o, "driver", json_string(map ? "qcow2" : "raw"));
        json_object_set_new(o, "read-only", json_true());
        if (map) {
            json_object_set_new(o, "file", disk_file_node(map, true));
            json_object_set_new(o, "data-file", disk_file_node(path(context, i - 1, false), true));
            json_object_set(o, "backing", top);
        } else {
            json_object_set_new(o, "file", disk_file_node(path(context, i - 1, false), true));
        }
        json_decref(top);
        top = o;
    }
    return top;
}
