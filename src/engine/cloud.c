#include "engine/cloud.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/strv.h"
#include "wire/seed/seed.h"

static int read_text(const char *flag, const char *path, char **ret, struct error *err)
{
    _cleanup_free_ char *text = NULL;
    int r = file_read(AT_FDCWD, path, SEED_TEXT_MAX, &text);
    if (r == -EFBIG)
        return error_set(err, ERROR_LIMIT, EFBIG, "%s %s: larger than %zu KiB", flag, path,
                         SEED_TEXT_MAX >> 10);
    if (r < 0)
        return error_errno(err, r, "%s %s", flag, path);
    _cleanup_json_ json_t *o = json_string(text);
    if (!o)
        return error_invalid(err, "%s %s: not text in UTF-8", flag, path);
    *ret = TAKE_PTR(text);
    return 0;
}

/* Once: what another instance is made of again has the contents in place of the names. */
static int read_files(struct create_options *o, struct error *err)
{
    const struct {
        const char *flag;
        char **value;
    } files[] = {{"--user-data", &o->user_data},
                 {"--meta-data", &o->meta_data},
                 {"--network-config", &o->network_config}};
    if (o->cloud_read)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        char *text = NULL;
        if (!*files[i].value)
            continue;
        int r = read_text(files[i].flag, *files[i].value, &text, err);
        if (r < 0)
            return r;
        free(*files[i].value);
        *files[i].value = text;
    }
    o->cloud_read = true;
    return 0;
}

/* A key as it is, or a file of them, one a line, with comments. */
static int add_keys(const char *given, char ***keys, struct error *err)
{
    _cleanup_free_ char *text = NULL;
    char *save = NULL;
    size_t before = strv_len(*keys);
    if (seed_key_check(given, NULL) == 0) {
        strv_add(keys, given);
        return 0;
    }
    int r = read_text("--ssh-key", given, &text, err);
    if (r < 0)
        return r;
    for (char *line = strtok_r(text, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save)) {
        line += strspn(line, " \t");
        if (!*line || *line == '#')
            continue;
        if ((r = seed_key_check(line, err)) < 0)
            return error_prefix(err, "%s", given);
        strv_add(keys, line);
    }
    return strv_len(*keys) > before ? 0 : error_invalid(err, "--ssh-key %s: no key in it", given);
}

static int read_keys(struct create_options *o, struct error *err)
{
    _cleanup_strv_ char **keys = NULL;
    for (char **v = o->ssh_keys; v && *v; v++) {
        int r = add_keys(*v, &keys, err);
        if (r < 0)
            return r;
    }
    if (strv_len(keys) > SEED_KEYS_MAX)
        return error_invalid(err, "--ssh-key: at most %u", SEED_KEYS_MAX);
    strv_free(o->ssh_keys);
    o->ssh_keys = TAKE_PTR(keys);
    return 0;
}

static bool any(const struct create_options *o)
{
    return o->user_data || o->meta_data || o->network_config || o->cloud_user ||
           strv_len(o->ssh_keys) + strv_len(o->dns) + strv_len(o->dns_search) +
                   strv_len(o->add_hosts) >
               0;
}

static bool is_address(const char *text)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

static bool is_host_name(const char *text, size_t len)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    return len > 0 && len < 254 && strspn(text, letters) >= len;
}

/* What is no address or no name would cost the machine all of its network's configuration. */
static int check_names(const struct create_options *o, struct error *err)
{
    bool resolvers = strv_len(o->dns) + strv_len(o->dns_search) > 0;
    if (resolvers && o->network_config)
        return error_invalid(err, "--network-config says all of it: --dns and --dns-search, too");
    if (resolvers && o->networks && strv_has(o->networks, "none"))
        return error_invalid(err, "--dns and --dns-search need a network");
    for (size_t i = 0; i < strv_len(o->dns); i++)
        if (!is_address(o->dns[i]))
            return error_invalid(err, "--dns \"%.60s\": an address", o->dns[i]);
    for (size_t i = 0; i < strv_len(o->dns_search); i++)
        if (!is_host_name(o->dns_search[i], strlen(o->dns_search[i])))
            return error_invalid(err, "--dns-search \"%.60s\": a domain", o->dns_search[i]);
    for (size_t i = 0; i < strv_len(o->add_hosts); i++) {
        const char *name = o->add_hosts[i], *colon = strchr(name, ':');
        if (!colon || !is_host_name(name, (size_t)(colon - name)) || !is_address(colon + 1))
            return error_invalid(err, "--add-host \"%.60s\": NAME:ADDRESS", name);
    }
    return 0;
}

static int check_words(const struct create_options *o, struct error *err)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyz_",
                      more[] = "abcdefghijklmnopqrstuvwxyz_0123456789-";
    const char *user = o->cloud_user;
    if (o->no_cloud_init && any(o))
        return error_invalid(err, "--cloud-init=false: there is something to tell it");
    if (user && (!*user || !strchr(first, *user) || strspn(user, more) != strlen(user) ||
                 strlen(user) > 32))
        return error_invalid(err, "--cloud-user \"%.40s\" is no name of a user", user);
    if (o->hostname && !is_host_name(o->hostname, strlen(o->hostname)))
        return error_invalid(err, "--hostname \"%.70s\": letters, digits, dots and dashes",
                             o->hostname);
    return check_names(o, err);
}

/* "." is no domain: none is looked in. hosts: --add-host's lines, or NULL; borrowed. */
static struct seed seed_of(const struct create_options *o, const char *id, const char *hosts)
{
    bool searches = strv_len(o->dns_search) > 0 && strcmp(o->dns_search[0], ".") != 0;
    return (struct seed){
        .instance_id = id,
        .hostname = o->hostname ? o->hostname
                    : o->name   ? o->name
                                : id,
        .user = o->cloud_user,
        .keys = o->ssh_keys,
        .user_data = o->user_data,
        .meta_data = o->meta_data,
        .network_config = o->network_config,
        .search = searches ? o->dns_search : NULL,
        .hosts = hosts,
    };
}

static char *hosts_of(const struct create_options *o)
{
    return strv_len(o->add_hosts) > 0 ? hosts_extend(xstrdup(""), o->add_hosts) : NULL;
}

int cloud_complete(struct create_options *o, struct error *err)
{
    _cleanup_buf_ struct buf disk = BUF_INIT(SEED_MAX);
    int r = check_words(o, err);
    if (r == 0)
        r = read_files(o, err);
    if (r == 0)
        r = read_keys(o, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *hosts = hosts_of(o);
    struct seed seed = seed_of(o, "check", hosts);
    return seed_make(&seed, &disk, err);
}

/* Addresses with their prefixes, in text of the caller's. */
static struct seed_network network_of(const struct bundle_network *n, char *v4, char *v6,
                                      size_t size)
{
    snprintf(v4, size, "%s/%u", n->address, n->prefix);
    snprintf(v6, size, "%s/%u", n->address6, n->prefix6);
    return (struct seed_network){
        .mac = n->mac,
        .address = *n->address ? v4 : NULL,
        .gateway = n->gateway,
        .address6 = *n->address6 ? v6 : NULL,
        .gateway6 = n->gateway6,
        .mtu = n->mtu,
    };
}

/* own_dns: name servers that were given, instead of the networks'; or NULL. */
static int write_disk(struct seed *seed, const struct bundle *b, char *const *own_dns,
                      const char *path, struct error *err)
{
    struct seed_network networks[BUNDLE_NETWORKS_MAX];
    char v4[BUNDLE_NETWORKS_MAX][64], v6[BUNDLE_NETWORKS_MAX][64];
    _cleanup_strv_ char **dns = NULL;
    _cleanup_buf_ struct buf disk = BUF_INIT(SEED_MAX);
    for (size_t i = 0; i < b->n_networks; i++) {
        networks[i] = network_of(&b->networks[i], v4[i], v6[i], sizeof(v4[i]));
        if (*b->networks[i].dns && !strv_has(dns, b->networks[i].dns))
            strv_add(&dns, b->networks[i].dns);
    }
    seed->networks = networks;
    seed->n_networks = b->n_networks;
    seed->dns = strv_len(own_dns) > 0 ? own_dns : dns;
    int r = seed_make(seed, &disk, err);
    if (r < 0)
        return r;
    r = file_write_atomic(AT_FDCWD, path, disk.data, disk.len, 0600);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

/* Systems that are no Linux get it only when somebody has something to say to them. */
int cloud_describe(const struct subject *s, struct bundle *b, struct error *err)
{
    const struct create_options *o = &s->options;
    bool linux_ = !o->os || strcmp(o->os, "linux") == 0;
    if (o->no_cloud_init || (!linux_ && !any(o)))
        return 0;
    struct machine_disk *d = bundle_machine_add_disk(&b->machine);
    _cleanup_free_ char *hosts = hosts_of(o);
    struct seed seed = seed_of(o, s->record.id, hosts);
    d->file = path_join(s->bundle, "seed.iso");
    d->format = xstrdup("raw");
    d->read_only = true;
    return write_disk(&seed, b, o->dns, d->file, err);
}
