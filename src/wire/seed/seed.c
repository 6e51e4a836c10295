/*
 * The user's own user-data and ours go together as cloud-init has it: a MIME archive with both as
 * parts. The user's comes first and ours is merged into it: lists grow, and what the user said
 * otherwise stays (merge_how).
 */
#include "wire/seed/seed.h"

#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/text.h"

static int too_much(int r, struct error *err)
{
    return r < 0 ? error_set(err, ERROR_LIMIT, EFBIG, "the data for cloud-init is too large") : 0;
}

static int add_json(struct buf *out, const char *before, json_t *o, struct error *err)
{
    _cleanup_free_ char *text = json_to_text(o);
    json_decref(o);
    if (!text)
        return error_invalid(err, "the data for cloud-init must be text in UTF-8");
    return too_much(buf_addf(out, "%s%s\n", before, text), err);
}

/* --- meta-data --- */

/* YAML of lines takes ours before it; of two values for a name the last counts. A document that
 * begins with a brace is JSON, or near enough to be asked to be. */
static int own_meta_data(const struct seed *s, struct buf *out, struct error *err)
{
    const char *p = s->meta_data + strspn(s->meta_data, " \t\r\n");
    _cleanup_json_ json_t *o = NULL;
    if (*p != '{') {
        if (strncmp(p, "---", 3) == 0)
            p += strcspn(p, "\n");
        return too_much(buf_addf(out, "instance-id: \"%s\"\nlocal-hostname: \"%s\"\n%s\n",
                                 s->instance_id, s->hostname, p),
                        err);
    }
    int r = json_parse(p, strlen(p), "--meta-data", &o, err);
    if (r < 0)
        return r;
    if (!json_object_get(o, "instance-id"))
        json_object_set_new(o, "instance-id", json_string(s->instance_id));
    if (!json_object_get(o, "local-hostname"))
        json_object_set_new(o, "local-hostname", json_string(s->hostname));
    return add_json(out, "", TAKE_PTR(o), err);
}

int seed_meta_data(const struct seed *s, struct buf *out, struct error *err)
{
    if (s->meta_data)
        return own_meta_data(s, out, err);
    return add_json(
        out, "",
        json_pack("{s:s, s:s}", "instance-id", s->instance_id, "local-hostname", s->hostname), err);
}

/* --- user-data --- */

static json_t *our_config(const struct seed *s)
{
    json_t *o = json_object(), *keys = s->keys ? json_from_strv(s->keys) : NULL;
    if (s->user) {
        json_t *user = json_pack("{s:s, s:s, s:s, s:b}", "name", s->user, "shell", "/bin/bash",
                                 "sudo", "ALL=(ALL) NOPASSWD:ALL", "lock_passwd", 1);
        if (keys)
            json_object_set_new(user, "ssh_authorized_keys", keys);
        json_object_set_new(o, "users", json_pack("[o]", user));
    } else if (keys) {
        json_object_set_new(o, "ssh_authorized_keys", keys);
    }
    if (s->hosts)
        json_object_set_new(
            o, "write_files",
            json_pack("[{s:s, s:b, s:s}]", "path", "/etc/hosts", "append", 1, "content", s->hosts));
    return o;
}

/* By the first line, as cloud-init tells them apart. */
static const char *content_type(const char *text)
{
    static const struct {
        const char *begin, *type;
    } types[] = {
        {"#cloud-config-archive", "text/cloud-config-archive"},
        {"#cloud-config", "text/cloud-config"},
        {"#!", "text/x-shellscript"},
        {"#include-once", "text/x-include-once-url"},
        {"#include", "text/x-include-url"},
        {"#cloud-boothook", "text/cloud-boothook"},
        {"## template: jinja", "text/jinja2"},
        {"#part-handler", "text/part-handler"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (strncmp(text, types[i].begin, strlen(types[i].begin)) == 0)
            return types[i].type;
    return NULL;
}

static bool is_mime(const char *text)
{
    return strncasecmp(text, "content-type:", 13) == 0 ||
           strncasecmp(text, "mime-version:", 13) == 0;
}

static int add_archive(const struct seed *s, json_t *ours, struct buf *out, struct error *err)
{
    const char *type = content_type(s->user_data);
    char boundary[48];
    /* Made of the content, so that the same gives the same, and not in it. */
    snprintf(boundary, sizeof(boundary), "proa-%016llx",
             (unsigned long long)fingerprint(s->user_data, strlen(s->user_data)));
    if (strstr(s->user_data, boundary))
        return error_invalid(err, "--user-data: this text cannot be part of an archive");
    if (!type && !is_mime(s->user_data))
        return error_invalid(err, "--user-data: the first line must say what it is: #cloud-config, "
                                  "#!, #include…, or a MIME header");
    int r =
        buf_addf(out, "Content-Type: multipart/mixed; boundary=\"%s\"\nMIME-Version: 1.0\n\n--%s\n",
                 boundary, boundary);
    if (r == 0 && type)
        r = buf_addf(out, "Content-Type: %s; charset=\"utf-8\"\nMIME-Version: 1.0\n\n", type);
    if (r == 0)
        r = buf_addf(out,
                     "%s\n--%s\nContent-Type: text/cloud-config; charset=\"utf-8\"\n"
                     "MIME-Version: 1.0\n\n",
                     s->user_data, boundary);
    if (r < 0)
        return too_much(r, err);
    json_object_set_new(ours, "merge_how",
                        json_string("dict(no_replace,recurse_list,recurse_array)+list(append)+"
                                    "str()"));
    r = add_json(out, "#cloud-config\n", json_incref(ours), err);
    return r < 0 ? r : too_much(buf_addf(out, "--%s--\n", boundary), err);
}

int seed_user_data(const struct seed *s, struct buf *out, struct error *err)
{
    _cleanup_json_ json_t *ours = our_config(s);
    if (!s->user_data)
        return add_json(out, "#cloud-config\n", json_incref(ours), err);
    if (json_object_size(ours) == 0)
        return too_much(buf_add_str(out, s->user_data), err);
    return add_archive(s, ours, out, err);
}

/* --- network-config --- */

static bool given(const char *s)
{
    return s && *s;
}

static void add_address(json_t *card, const char *address, const char *gateway, const char *all)
{
    if (!given(address))
        return;
    json_array_append_new(json_object_get(card, "addresses"), json_string(address));
    if (given(gateway))
        json_array_append_new(json_object_get(card, "routes"),
                              json_pack("{s:s, s:s}", "to", all, "via", gateway));
}

/* Of the first card, as they are of the whole machine. */
static void add_resolvers(json_t *card, const struct seed *s)
{
    json_t *o = json_object();
    if (s->dns && s->dns[0])
        json_object_set_new(o, "addresses", json_from_strv(s->dns));
    if (s->search && s->search[0])
        json_object_set_new(o, "search", json_from_strv(s->search));
    if (json_object_size(o) > 0)
        json_object_set(card, "nameservers", o);
    json_decref(o);
}

/* It is told apart by its MAC, and gets the name that the rest of the configuration goes by. */
static json_t *network(const struct seed_network *n, const char *name)
{
    json_t *card = json_pack("{s:{s:s}, s:s, s:[], s:[]}", "match", "macaddress", n->mac,
                             "set-name", name, "addresses", "routes");
    add_address(card, n->address, n->gateway, "0.0.0.0/0");
    add_address(card, n->address6, n->gateway6, "::/0");
    if (!given(n->address) && !given(n->address6)) /* a LAN that gives them itself */
        json_object_set_new(card, "dhcp4", json_true());
    if (n->mtu)
        json_object_set_new(card, "mtu", json_integer(n->mtu));
    return card;
}

int seed_network_config(const struct seed *s, struct buf *out, struct error *err)
{
    if (s->network_config)
        return too_much(buf_add_str(out, s->network_config), err);
    if (s->n_networks == 0)
        return 0;
    json_t *cards = json_object();
    for (size_t i = 0; i < s->n_networks; i++) {
        char name[32];
        snprintf(name, sizeof(name), "eth%zu", i);
        json_object_set_new(cards, name, network(&s->networks[i], name));
    }
    add_resolvers(json_object_get(cards, "eth0"), s);
    return add_json(out, "", json_pack("{s:i, s:o}", "version", 2, "ethernets", cards), err);
}

/* --- all of it --- */

int seed_key_check(const char *line, struct error *err)
{
    static const char *const begins[] = {"ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"};
    bool known = false;
    for (size_t i = 0; i < ARRAY_SIZE(begins); i++)
        known |= strncmp(line, begins[i], strlen(begins[i])) == 0;
    if (!known || !strchr(line, ' ') || strlen(line) > 16384)
        return error_invalid(err, "--ssh-key: \"%.40s\" is no public key of SSH", line);
    for (const char *p = line; *p; p++)
        if ((unsigned char)*p < ' ')
            return error_invalid(err, "--ssh-key: a key is one line");
    return 0;
}

int seed_make(const struct seed *s, struct buf *out, struct error *err)
{
    static int (*const makers[])(const struct seed *, struct buf *, struct error *) = {
        seed_meta_data, seed_user_data, seed_network_config};
    static const char *const names[] = {"meta-data", "user-data", "network-config"};
    struct buf texts[] = {BUF_INIT(SEED_MAX / 4), BUF_INIT(SEED_MAX / 4), BUF_INIT(SEED_MAX / 4)};
    struct iso_file files[ARRAY_SIZE(texts)];
    size_t n = 0;
    int r = 0;
    for (size_t i = 0; i < ARRAY_SIZE(texts) && r == 0; i++) {
        r = makers[i](s, &texts[i], err);
        if (texts[i].len > 0)
            files[n++] = (struct iso_file){names[i], texts[i].data, texts[i].len};
    }
    if (r == 0)
        r = too_much(iso_make("cidata", files, n, out), err);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        buf_done(&texts[i]);
    return r;
}
