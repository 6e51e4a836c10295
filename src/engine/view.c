#include "engine/view.h"

#include <arpa/inet.h>
#include <signal.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/path.h"
#include "base/strv.h"
#include "engine/engine-internal.h"
#include "engine/health.h"
#include "engine/place.h"
#include "service/volume/volume.h"

static void view_port_done(struct view_port *p)
{
    free(p->network);
    free(p->network_id);
    free(p->address);
    free(p->gateway);
    free(p->address6);
    free(p->gateway6);
    free(p->mac);
    strv_free(p->aliases);
}

void instance_view_free(struct instance_view *v)
{
    if (!v)
        return;
    free(v->id);
    free(v->name);
    free(v->image_id);
    free(v->image_name);
    free(v->halted);
    free(v->silent);
    create_options_done(&v->options);
    strv_free(v->argv);
    free(v->network);
    for (size_t i = 0; i < v->n_networks; i++)
        view_port_done(&v->networks[i]);
    free(v->networks);
    free(v->ports);
    for (size_t i = 0; i < v->n_mounts; i++) {
        free(v->mounts[i].type);
        free(v->mounts[i].name);
        free(v->mounts[i].source);
        free(v->mounts[i].target);
    }
    free(v->mounts);
    json_decref(v->guest);
    json_decref(v->health);
    free(v->log_path);
    free(v->bundle);
    free(v);
}

bool view_is_on(const struct instance_view *v, const char *network)
{
    bool found = v->network && strcmp(v->network, network) == 0;
    for (size_t i = 0; i < v->n_networks; i++)
        found |= strcmp(v->networks[i].network, network) == 0;
    return found;
}

void engine_list_free(struct instance_view **list)
{
    for (size_t i = 0; list && list[i]; i++)
        instance_view_free(list[i]);
    free(list);
}

/* A monitor that was lost (a reboot, kill -9) never wrote the end. */
static void correct_lost(struct instance_view *v)
{
    if (v->status.alive || v->status.state == MONITOR_NONE || v->status.state == MONITOR_EXITED)
        return;
    v->status.exit_code = 128 + SIGKILL;
    v->status.pid = 0;
}

static char *text4(struct in_addr a)
{
    char text[INET_ADDRSTRLEN];
    return a.s_addr ? xstrdup(inet_ntop(AF_INET, &a, text, sizeof(text))) : NULL;
}

static char *text6(const struct in6_addr *a)
{
    char text[INET6_ADDRSTRLEN];
    return IN6_IS_ADDR_UNSPECIFIED(a) ? NULL : xstrdup(inet_ntop(AF_INET6, a, text, sizeof(text)));
}

/* The addresses that the store keeps for the instance on that network. */
static void fill_port(struct engine *e, const struct network_member *members, struct view_port *p)
{
    _cleanup_network_ struct network *network = NULL;
    struct error ignored = ERROR_INIT;
    if (network_find(e->store, p->network, &network, &ignored) < 0)
        return;
    p->network_id = xstrdup(network->id);
    for (const struct network_member *m = members; m && m->instance_id; m++) {
        if (strcmp(m->network, p->network) != 0)
            continue;
        p->address = text4(m->address);
        p->address6 = text6(&m->address6);
        p->mac = xstrdup(m->mac);
        p->gateway = p->address ? text4(m->prefix ? m->gateway : network->gateway) : NULL;
        p->gateway6 = p->address6 ? text6(&network->gateway6) : NULL;
        p->prefix = !p->address ? 0 : m->prefix ? m->prefix : network->prefix;
        p->prefix6 = p->address6 ? network->prefix6 : 0;
    }
}

static void add_network(struct engine *e, struct instance_view *v)
{
    _cleanup_places_ struct places places = {.mode = PLACE_NETWORKS};
    struct network_member *members = NULL;
    struct error ignored = ERROR_INIT;
    if (places_parse(&v->options, &places, &ignored) < 0 || places.mode != PLACE_NETWORKS ||
        network_ports_of(e->store, v->id, &members, &ignored) < 0) {
        v->network = xstrdup(v->options.networks ? v->options.networks[0] : NETWORK_DEFAULT);
        return;
    }
    v->network = xstrdup(places.list[0].network);
    v->networks = xcalloc(places.n, sizeof(*v->networks));
    v->n_networks = places.n;
    for (size_t i = 0; i < places.n; i++) {
        v->networks[i].network = xstrdup(places.list[i].network);
        v->networks[i].aliases = strv_copy(places.list[i].aliases);
        fill_port(e, members, &v->networks[i]);
    }
    network_members_free(members);
    (void)!network_published(e->store, v->id, &v->ports, &v->n_ports, &ignored);
}

static void add_mounts(struct engine *e, struct instance_view *v, const struct spec_mounts *mounts)
{
    v->mounts = xcalloc(mounts->n, sizeof(*v->mounts));
    v->n_mounts = mounts->n;
    for (size_t i = 0; i < mounts->n; i++) {
        const struct spec_mount *m = &mounts->list[i];
        v->mounts[i] = (struct view_mount){
            .type = xstrdup(m->type),
            .name = xstrdup(m->name),
            .source = m->name ? xasprintf("%s/volumes/%s/data", e->store->root, m->name)
                              : xstrdup(m->source ? m->source : ""),
            .target = xstrdup(m->target),
            .read_only = m->read_only,
        };
    }
}

static void add_health(struct instance_view *v, const struct image *image)
{
    _cleanup_(health_check_done) struct health_check h = {0};
    struct error ignored = ERROR_INIT;
    if (v->status.started_ns && health_check_get(&v->options, image, &h, &ignored) == 0 && h.argv)
        v->health = health_load(v->bundle, v->status.started_ns);
}

/* Whatever has gone since (an image, a bind source) leaves its member empty: a view never fails. */
static void add_image_parts(struct engine *e, struct instance_view *v)
{
    _cleanup_image_ struct image *image = NULL;
    _cleanup_(spec_mounts_done) struct spec_mounts mounts = {0};
    struct error ignored = ERROR_INIT;
    if (image_find(e->store, v->image_id, &image, &ignored) < 0)
        return;
    (void)!spec_argv(&v->options, image, &v->argv, &ignored);
    add_health(v, image);
    if (spec_mounts_parse(&v->options, image, &mounts, &ignored) == 0)
        add_mounts(e, v, &mounts);
}

static struct instance_view *view_of(struct engine *e, struct subject *s)
{
    struct instance_view *v = xnew(struct instance_view);
    char why[SUBJECT_WHY_MAX];
    v->state = subject_state(s);
    if (v->state == STATE_PAUSED && subject_halted(s, why))
        v->halted = xstrdup(why);
    if (s->record.kind == RUNTIME_VM && s->status.alive &&
        vm_silent(&s->target, &v->silent_since_ns, why, sizeof(why)))
        v->silent = xstrdup(why);
    v->id = TAKE_PTR(s->record.id);
    v->name = TAKE_PTR(s->record.name);
    v->image_id = TAKE_PTR(s->record.image_id);
    v->image_name = TAKE_PTR(s->record.image_name);
    v->kind = (enum runtime_kind)s->record.kind;
    v->created_ns = s->record.created_ns;
    v->auto_remove = s->record.auto_remove;
    v->status = s->status;
    v->options = s->options;
    create_options_init(&s->options);
    v->bundle = xstrdup(s->bundle);
    v->log_path = path_join(s->bundle, "log");
    correct_lost(v);
    add_image_parts(e, v);
    add_network(e, v);
    return v;
}

/* Only a machine that boots a disk has firmware. */
static void add_guest(const struct subject *s, struct instance_view *v)
{
    _cleanup_free_ char *text = NULL;
    struct error ignored = ERROR_INIT;
    json_t *o = NULL;
    if (v->options.firmware && s->status.alive && vm_guest_info(&s->target, &text, &ignored) == 0 &&
        json_parse(text, strlen(text), "the guest", &o, &ignored) == 0)
        v->guest = o;
}

int engine_view(struct engine *e, const char *reference, struct instance_view **ret,
                struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    int r = subject_open(e, reference, SUBJECT_UNLOCKED, &s, err);
    if (r < 0)
        return r;
    *ret = view_of(e, &s);
    add_guest(&s, *ret);
    return 0;
}

static int compare_newest(const void *a, const void *b)
{
    const struct instance_view *x = *(struct instance_view *const *)a;
    const struct instance_view *y = *(struct instance_view *const *)b;
    return (x->created_ns < y->created_ns) - (x->created_ns > y->created_ns);
}

int engine_list(struct engine *e, bool all, struct instance_view ***ret, struct error *err)
{
    struct instance_record *records;
    int r = store_instance_list(e->store, &records, err);
    if (r < 0)
        return r;
    size_t n = 0, count = 0;
    while (records[count].id)
        count++;
    struct instance_view **list = xcalloc(count + 1, sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        _cleanup_subject_ struct subject s = SUBJECT_INIT;
        struct error ignored = ERROR_INIT;
        if (subject_from_record(e, &records[i], SUBJECT_UNLOCKED, &s, &ignored) < 0)
            continue; /* removed meanwhile */
        enum instance_state state = subject_state(&s);
        if (all || (state != STATE_CREATED && state != STATE_EXITED))
            list[n++] = view_of(e, &s);
    }
    for (size_t i = 0; i < count; i++)
        instance_record_done(&records[i]);
    free(records);
    qsort(list, n, sizeof(*list), compare_newest);
    *ret = list;
    return 0;
}
