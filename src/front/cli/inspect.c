#include "front/cli/inspect.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/text.h"
#include "front/cli/instance_text.h"
#include "front/cli/row.h"
#include "service/network/seal.h"
#include "service/store/heard.h"

static void set_text(json_t *o, const char *key, const char *text)
{
    json_object_set_new(o, key, json_text(text));
}

static void set_int(json_t *o, const char *key, int64_t n)
{
    json_object_set_new(o, key, json_integer(n));
}

static void set_bool(json_t *o, const char *key, bool b)
{
    json_object_set_new(o, key, json_boolean(b));
}

static void set_texts(json_t *o, const char *key, char *const *list)
{
    json_object_set_new(o, key, json_texts(list));
}

static bool is_up(const struct instance_view *v)
{
    return v->state == STATE_RUNNING || v->state == STATE_PAUSED;
}

static json_t *health(const json_t *h)
{
    json_t *log = json_array(), *entry;
    size_t i;
    json_array_foreach(json_object_get(h, "log"), i, entry)
    {
        json_t *o = json_object();
        json_object_set_new(o, "Start",
                            json_time(json_integer_value(json_object_get(entry, "start"))));
        json_object_set_new(o, "End", json_time(json_integer_value(json_object_get(entry, "end"))));
        json_object_set(o, "ExitCode", json_object_get(entry, "exit"));
        json_object_set(o, "Output", json_object_get(entry, "output"));
        json_array_append_new(log, o);
    }
    return json_pack("{s:O?, s:O?, s:o}", "Status", json_object_get(h, "status"), "FailingStreak",
                     json_object_get(h, "failing"), "Log", log);
}

static json_t *state(const struct instance_view *v)
{
    const struct monitor_status *s = &v->status;
    json_t *o = json_object();
    struct status_text silent = instance_silent_text(v, time_now_ns());
    set_text(o, "Status", instance_state_name(v->state));
    set_bool(o, "Running", is_up(v));
    set_bool(o, "Paused", v->state == STATE_PAUSED);
    set_bool(o, "Restarting", v->state == STATE_RESTARTING);
    set_bool(o, "OOMKilled", s->oom_killed);
    set_bool(o, "Dead", false);
    set_int(o, "Pid", is_up(v) ? s->pid : 0);
    set_int(o, "ExitCode", is_up(v) ? 0 : s->exit_code);
    set_text(o, "Error", v->halted ? v->halted : v->silent ? silent.s : s->error);
    json_object_set_new(o, "StartedAt", json_time(s->started_ns));
    json_object_set_new(o, "FinishedAt", json_time(s->finished_ns));
    if (v->kind == RUNTIME_VM) {
        set_bool(o, "Answering", is_up(v) && !v->silent);
        json_object_set_new(o, "SilentSince", json_time(v->silent_since_ns));
    }
    if (v->health)
        json_object_set_new(o, "Health", health(v->health));
    return o;
}

/* {"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]} */
static json_t *ports(const struct instance_view *v)
{
    json_t *o = json_object();
    for (size_t i = 0; i < v->n_ports; i++) {
        struct port_text t = port_text(&v->ports[i]);
        json_t *list = json_object_get(o, t.inside), *one = json_object();
        if (!list) {
            list = json_array();
            json_object_set_new(o, t.inside, list);
        }
        set_text(one, "HostIp", t.host_address);
        set_text(one, "HostPort", t.host_port);
        json_array_append_new(list, one);
    }
    return o;
}

static json_t *restart_policy(const char *restart)
{
    json_t *o = json_object();
    const char *text = restart ? restart : "no", *colon = strchr(text, ':');
    uint32_t most = 0;
    _cleanup_free_ char *name = colon ? xstrndup(text, (size_t)(colon - text)) : xstrdup(text);
    if (colon && parse_u32(colon + 1, &most) < 0)
        most = 0;
    set_text(o, "Name", name);
    set_int(o, "MaximumRetryCount", most);
    return o;
}

static json_t *log_config(const struct create_options *q)
{
    json_t *o = json_object(), *config = json_object();
    set_text(o, "Type", "json-file");
    if (q->log_max_bytes)
        row_setf(config, "max-size", "%llu", (unsigned long long)q->log_max_bytes);
    if (q->log_files)
        row_setf(config, "max-file", "%u", q->log_files);
    json_object_set_new(o, "Config", config);
    return o;
}

static void set_limits(json_t *o, const struct create_options *q)
{
    set_int(o, "Memory", (int64_t)q->memory_bytes);
    set_int(o, "MemorySwap", q->memory_swap_bytes);
    set_int(o, "NanoCpus", (int64_t)q->cpus_milli * 1000000);
    set_int(o, "CpuShares", (int64_t)q->cpu_shares);
    set_text(o, "CpusetCpus", q->cpuset);
    set_int(o, "PidsLimit", q->pids_limit);
    set_int(o, "ShmSize", q->shm_bytes ? (int64_t)q->shm_bytes : 67108864);
    set_texts(o, "Ulimits", q->ulimits);
}

static json_t *tmpfs(char *const *list)
{
    json_t *o = json_object();
    for (size_t i = 0; list && list[i]; i++) {
        _cleanup_free_ char *path = xstrdup(list[i]);
        char *colon = strchr(path, ':');
        if (colon)
            *colon = '\0';
        set_text(o, path, colon ? colon + 1 : "");
    }
    return o;
}

static json_t *host_config(const struct instance_view *v)
{
    const struct create_options *q = &v->options;
    json_t *o = json_object();
    set_texts(o, "Binds", q->volumes);
    set_texts(o, "Mounts", q->mounts);
    json_object_set_new(o, "Tmpfs", tmpfs(q->tmpfs));
    json_object_set_new(o, "LogConfig", log_config(q));
    set_text(o, "NetworkMode", v->network);
    set_text(o, "NetworkRate", q->network_rate);
    set_text(o, "NetworkPriority", q->network_priority);
    set_text(o, "NetworkConnections", q->network_connections);
    json_object_set_new(o, "PortBindings", ports(v));
    set_bool(o, "PublishAllPorts", q->publish_all);
    json_object_set_new(o, "RestartPolicy", restart_policy(q->restart));
    set_bool(o, "AutoRemove", v->auto_remove);
    set_texts(o, "CapAdd", q->cap_add);
    set_texts(o, "CapDrop", q->cap_drop);
    set_texts(o, "Dns", q->dns);
    set_texts(o, "ExtraHosts", q->add_hosts);
    set_bool(o, "Privileged", q->privileged);
    set_bool(o, "ReadonlyRootfs", q->read_only);
    set_texts(o, "SecurityOpt", q->security_opt);
    json_object_set_new(o, "Sysctls", json_labels(q->sysctls));
    set_texts(o, "Devices", q->devices);
    set_bool(o, "Init", q->init);
    set_limits(o, q);
    return o;
}

/* What was asked for over what the image says, as it is when the instance runs. */
static json_t *merged(char *const *of_image, char *const *asked, json_t *(*form)(char *const *))
{
    _cleanup_strv_ char **all = strv_copy(of_image);
    for (size_t i = 0; asked && asked[i]; i++)
        env_set(&all, asked[i]);
    return form(all);
}

static json_t *entrypoint(const struct create_options *q, const struct image *image)
{
    char *one[] = {q->entrypoint, NULL};
    if (!q->entrypoint)
        return json_texts(image ? image->entrypoint : NULL);
    return *q->entrypoint ? json_texts(one) : json_null();
}

static json_t *config(const struct instance_view *v, const struct image *image)
{
    static const struct image no_image = {0};
    const struct create_options *q = &v->options;
    const struct image *i = image ? image : &no_image;
    json_t *o = json_object();
    char short_name[13];
    snprintf(short_name, sizeof(short_name), "%.12s", v->id);
    set_text(o, "Hostname", q->hostname ? q->hostname : short_name);
    set_text(o, "User", q->user ? q->user : i->user);
    set_bool(o, "Tty", q->terminal);
    set_bool(o, "OpenStdin", q->open_stdin);
    json_object_set_new(o, "Env", merged(i->env, q->env, json_texts));
    /* An entrypoint of one's own does without the image's arguments. */
    set_texts(o, "Cmd", q->command || q->entrypoint ? q->command : i->cmd);
    set_text(o, "Image", v->image_name ? v->image_name : v->image_id);
    set_text(o, "WorkingDir", q->working_dir ? q->working_dir : i->working_dir);
    json_object_set_new(o, "Entrypoint", entrypoint(q, image));
    json_object_set_new(o, "Labels", merged(i->labels, q->labels, json_labels));
    set_text(o, "StopSignal", q->stop_signal ? q->stop_signal : i->stop_signal);
    if (q->stop_timeout_s >= 0)
        set_int(o, "StopTimeout", q->stop_timeout_s);
    return o;
}

/* On a network of its own making; none and host give no address. */
static void set_place(json_t *o, const struct view_port *p)
{
    set_text(o, "Gateway", p->gateway);
    set_text(o, "IPAddress", p->address);
    set_int(o, "IPPrefixLen", p->prefix);
    set_text(o, "IPv6Gateway", p->gateway6);
    set_text(o, "GlobalIPv6Address", p->address6);
    set_int(o, "GlobalIPv6PrefixLen", p->prefix6);
    set_text(o, "MacAddress", p->mac);
}

static json_t *network_settings(const struct instance_view *v)
{
    static const struct view_port nowhere;
    json_t *o = json_object(), *networks = json_object();
    set_place(o, v->n_networks ? &v->networks[0] : &nowhere);
    json_object_set_new(o, "Ports", is_up(v) ? ports(v) : json_object());
    for (size_t i = 0; i < v->n_networks; i++) {
        json_t *one = json_object();
        set_texts(one, "Aliases", v->networks[i].aliases);
        set_text(one, "NetworkID", v->networks[i].network_id);
        set_place(one, &v->networks[i]);
        json_object_set_new(networks, v->networks[i].network, one);
    }
    if (v->network && v->n_networks == 0) {
        json_t *one = json_object();
        set_texts(one, "Aliases", NULL);
        set_place(one, &nowhere);
        json_object_set_new(networks, v->network, one);
    }
    json_object_set_new(o, "Networks", networks);
    return o;
}

static json_t *mounts(const struct instance_view *v)
{
    json_t *list = json_array();
    for (size_t i = 0; i < v->n_mounts; i++) {
        const struct view_mount *m = &v->mounts[i];
        json_t *o = json_object();
        set_text(o, "Type", m->type);
        if (m->name)
            set_text(o, "Name", m->name);
        set_text(o, "Source", m->source);
        set_text(o, "Destination", m->target);
        set_text(o, "Mode", m->read_only ? "ro" : "");
        set_bool(o, "RW", !m->read_only);
        json_array_append_new(list, o);
    }
    return list;
}

json_t *inspect_instance(const struct instance_view *v, const struct image *image)
{
    json_t *o = json_object();
    _cleanup_free_ char *name = xasprintf("/%s", v->name ? v->name : "");
    static char *const no_args[] = {NULL};
    set_text(o, "Id", v->id);
    json_object_set_new(o, "Created", json_time(v->created_ns));
    set_text(o, "Path", v->argv ? v->argv[0] : NULL);
    set_texts(o, "Args", v->argv && v->argv[0] ? v->argv + 1 : no_args);
    json_object_set_new(o, "State", state(v));
    set_text(o, "Image", v->image_id);
    set_text(o, "LogPath", v->log_path);
    set_text(o, "Name", name);
    set_int(o, "RestartCount", v->status.restarts);
    set_text(o, "Kind", runtime_kind_name(v->kind));
    set_text(o, "Platform", "linux");
    set_text(o, "Bundle", v->bundle);
    json_object_set_new(o, "HostConfig", host_config(v));
    json_object_set_new(o, "Mounts", mounts(v));
    json_object_set_new(o, "Config", config(v, image));
    json_object_set_new(o, "NetworkSettings", network_settings(v));
    if (v->options.firmware)
        json_object_set_new(o, "Machine", inspect_machine(&v->options));
    if (v->guest)
        json_object_set(o, "Guest", v->guest);
    return o;
}

/* --- images, volumes, networks --- */

/* {"80/tcp":{}}: Docker's sets. */
static json_t *set_of(char *const *list)
{
    json_t *o = json_object();
    for (size_t i = 0; list && list[i]; i++)
        json_object_set_new(o, list[i], json_object());
    return o;
}

/* What only an application image has. */
static void add_application(json_t *o, const struct image *image)
{
    json_t *conf = json_object(), *root = json_object(), *layers = json_array();
    for (size_t i = 0; i < image->n_layers; i++)
        json_array_append_new(layers, json_text(image->layers[i].diff_id));
    set_text(conf, "User", image->user);
    json_object_set_new(conf, "ExposedPorts", set_of(image->exposed_ports));
    set_texts(conf, "Env", image->env);
    set_texts(conf, "Cmd", image->cmd);
    json_object_set_new(conf, "Volumes", set_of(image->volumes));
    set_text(conf, "WorkingDir", image->working_dir);
    set_texts(conf, "Entrypoint", image->entrypoint);
    json_object_set_new(conf, "Labels", json_labels(image->labels));
    set_text(conf, "StopSignal", image->stop_signal);
    set_text(root, "Type", "layers");
    json_object_set_new(root, "Layers", layers);
    json_object_set_new(o, "Config", conf);
    json_object_set_new(o, "RootFS", root);
}

json_t *inspect_image(const struct image *image)
{
    json_t *o = json_object();
    set_text(o, "Id", image->id);
    set_texts(o, "RepoTags", image->names);
    set_texts(o, "RepoDigests", image->digests);
    json_object_set_new(o, "Created", json_time(image->created_ns));
    set_text(o, "Architecture", image->architecture);
    set_text(o, "Os", image->os);
    set_text(o, "Kind", image_kind_name(image->kind));
    set_int(o, "Size", (int64_t)image->bytes);
    if (image->kind == IMAGE_DISK)
        set_int(o, "VirtualSize", (int64_t)image->disk_bytes);
    else
        add_application(o, image);
    return o;
}

json_t *inspect_volume(const struct volume *volume)
{
    json_t *o = json_object();
    json_object_set_new(o, "CreatedAt", json_time(volume->created_ns));
    set_text(o, "Driver", "local");
    json_object_set_new(o, "Labels", json_labels(volume->labels));
    set_text(o, "Mountpoint", volume->path);
    set_text(o, "Name", volume->name);
    set_text(o, "Scope", "local");
    return o;
}

static const char *name_of(struct instance_view *const *all, const char *id)
{
    for (size_t i = 0; all && all[i]; i++)
        if (strcmp(all[i]->id, id) == 0)
            return all[i]->name;
    return "";
}

static void add_subnet(json_t *list, int family, const void *subnet, const void *gateway,
                       unsigned int prefix)
{
    char text[INET6_ADDRSTRLEN] = "";
    json_t *one = json_object();
    if (prefix == 0) {
        json_decref(one);
        return;
    }
    inet_ntop(family, subnet, text, sizeof(text));
    row_setf(one, "Subnet", "%s/%u", text, prefix);
    inet_ntop(family, gateway, text, sizeof(text));
    set_text(one, "Gateway", text);
    json_array_append_new(list, one);
}

static json_t *ipam(const struct network *n)
{
    json_t *o = json_object(), *list = json_array();
    add_subnet(list, AF_INET, &n->subnet, &n->gateway, n->prefix);
    add_subnet(list, AF_INET6, &n->subnet6, &n->gateway6, n->prefix6);
    json_object_set_new(o, "Config", list);
    return o;
}

static void set_address(json_t *o, const char *key, int family, const void *address,
                        unsigned int prefix)
{
    char text[INET6_ADDRSTRLEN] = "";
    if (prefix == 0) {
        set_text(o, key, "");
        return;
    }
    inet_ntop(family, address, text, sizeof(text));
    row_setf(o, key, "%s/%u", text, prefix);
}

/* Of a network that spans hosts: by host, whom it has said to have. */
static int set_peers(struct engine *e, const struct network *n, json_t *o, struct error *err)
{
    struct store_heard *list = NULL;
    size_t count = 0;
    if (!n->vxlan_id)
        return 0;
    int r = store_heard_list(e->store, n->name, &list, &count, err);
    if (r < 0)
        return r;
    json_t *peers = json_object();
    for (size_t i = 0; n->peers[i]; i++)
        json_object_set_new(peers, n->peers[i], json_array());
    for (size_t i = 0; i < count; i++) {
        json_t *one = json_object();
        set_text(one, "Name", list[i].names[0] ? list[i].names[0] : "");
        set_address(one, "IPv4Address", AF_INET, &list[i].address, n->prefix);
        set_address(one, "IPv6Address", AF_INET6, &list[i].address6,
                    IN6_IS_ADDR_UNSPECIFIED(&list[i].address6) ? 0 : n->prefix6);
        json_array_append_new(json_object_get(peers, list[i].peer), one);
    }
    store_heard_list_free(list, count);
    json_object_set_new(o, "Peers", peers);
    return 0;
}

static void set_seconds(json_t *o, const char *key, int64_t seconds)
{
    if (seconds)
        json_object_set_new(o, key, json_time(seconds * 1000000000));
    else
        json_object_set_new(o, key, json_null());
}

/* Of a network whose VXLAN is in WireGuard. */
static int set_sealed(struct engine *e, const struct network *n, json_t *o, struct error *err)
{
    if (!n->peer_publics || !n->peer_publics[0])
        return 0;
    _cleanup_free_ char *own = NULL;
    _cleanup_free_ struct network_sealed_peer *list =
        xcalloc(strv_len(n->peers) + 1, sizeof(*list));
    int r = network_sealed_peers(e->store, n, &own, list, err);
    if (r < 0)
        return r;
    json_t *sealed = json_object(), *peers = json_object();
    for (size_t i = 0; n->peers[i]; i++) {
        json_t *one = json_object();
        _cleanup_free_ char *endpoint = xasprintf("%s:%u", n->peers[i], n->wireguard_port);
        set_text(one, "PublicKey", n->peer_publics[i]);
        set_text(one, "Endpoint", endpoint);
        set_seconds(one, "LatestHandshake", list[i].agreed_s);
        json_object_set_new(one, "ReceivedBytes", json_integer((json_int_t)list[i].received));
        json_object_set_new(one, "SentBytes", json_integer((json_int_t)list[i].sent));
        json_object_set_new(peers, n->peers[i], one);
    }
    set_text(sealed, "PublicKey", own);
    json_object_set_new(sealed, "Port", json_integer(n->wireguard_port));
    json_object_set_new(sealed, "Peers", peers);
    json_object_set_new(o, "WireGuard", sealed);
    return 0;
}

int inspect_network(struct engine *e, const struct network *n, struct instance_view *const *all,
                    json_t **ret, struct error *err)
{
    struct network_member *members;
    int r = network_members(e->store, n->name, &members, err);
    if (r < 0)
        return r;
    json_t *o = json_object(), *containers = json_object(), *options = json_object();
    for (size_t i = 0; members[i].instance_id; i++) {
        json_t *one = json_object();
        set_text(one, "Name", name_of(all, members[i].instance_id));
        set_text(one, "MacAddress", members[i].mac);
        set_address(one, "IPv4Address", AF_INET, &members[i].address, n->prefix);
        set_address(one, "IPv6Address", AF_INET6, &members[i].address6, n->prefix6);
        json_object_set_new(containers, members[i].instance_id, one);
    }
    network_members_free(members);
    row_setf(options, "mtu", "%u", n->mtu);
    if (n->parent)
        set_text(options, "parent", n->parent);
    else
        row_setf(options, "bridge", "%s", n->bridge ? n->bridge : "");
    set_text(o, "Name", n->name);
    set_text(o, "Id", n->id);
    json_object_set_new(o, "Created", json_time(n->created_ns));
    set_text(o, "Scope", "local");
    set_text(o, "Driver", network_driver_name(n->driver));
    set_bool(o, "EnableIPv6", n->prefix6 > 0);
    json_object_set_new(o, "IPAM", ipam(n));
    set_bool(o, "Internal", n->internal);
    set_bool(o, "Isolated", n->isolated);
    json_object_set_new(o, "Containers", containers);
    json_object_set_new(o, "Options", options);
    json_object_set_new(o, "Labels", json_labels(n->labels));
    r = set_peers(e, n, o, err);
    if (r == 0)
        r = set_sealed(e, n, o, err);
    if (r < 0)
        json_decref(o);
    else
        *ret = o;
    return r;
}
