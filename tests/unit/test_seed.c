#include "check.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>

#include "base/json.h"
#include "wire/seed/seed.h"

#define KEY "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me@host"

static char *const keys[] = {(char *)KEY, NULL};
static char *const dns[] = {(char *)"10.0.0.1", NULL};
static char *const search[] = {(char *)"example.net", (char *)"example.org", NULL};
static const struct seed_network networks[] = {
    {.mac = "52:54:00:12:34:56",
     .address = "10.0.0.2/24",
     .gateway = "10.0.0.1",
     .address6 = "fd00::2/64",
     .gateway6 = "fd00::1",
     .mtu = 1400},
    {.mac = "52:54:00:12:34:57", .address = "10.1.0.2/16"},
};

static struct seed plain(void)
{
    return (struct seed){.instance_id = "abc", .hostname = "web", .keys = keys};
}

static json_t *parse(const char *text)
{
    struct error err = ERROR_INIT;
    json_t *o = NULL;
    assert_int_equal(json_parse(text, strlen(text), "it", &o, &err), 0);
    return o;
}

static void test_meta_data(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct seed s = plain();
    _cleanup_buf_ struct buf b = BUF_INIT(SEED_MAX);
    assert_int_equal(seed_meta_data(&s, &b, &err), 0);
    assert_string_equal(b.data, "{\"instance-id\":\"abc\",\"local-hostname\":\"web\"}\n");
    buf_reset(&b);
    s.meta_data = "--- # mine\nlocal-hostname: db\n";
    assert_int_equal(seed_meta_data(&s, &b, &err), 0);
    assert_string_equal(b.data,
                        "instance-id: \"abc\"\nlocal-hostname: \"web\"\n\nlocal-hostname: db\n\n");
    buf_reset(&b);
    s.meta_data = " {\"local-hostname\": \"db\"}";
    assert_int_equal(seed_meta_data(&s, &b, &err), 0);
    _cleanup_json_ json_t *o = parse(b.data);
    assert_string_equal(json_string_value(json_object_get(o, "instance-id")), "abc");
    assert_string_equal(json_string_value(json_object_get(o, "local-hostname")), "db");
    s.meta_data = "{nonsense";
    assert_true(seed_meta_data(&s, &b, &err) < 0);
}

static void test_user_data(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct seed s = plain();
    _cleanup_buf_ struct buf b = BUF_INIT(SEED_MAX);
    assert_int_equal(seed_user_data(&s, &b, &err), 0);
    assert_string_equal(b.data, "#cloud-config\n{\"ssh_authorized_keys\":[\"" KEY "\"]}\n");
    buf_reset(&b);
    s.user = "me";
    assert_int_equal(seed_user_data(&s, &b, &err), 0);
    assert_non_null(strstr(b.data, "\"name\":\"me\""));
    assert_non_null(strstr(b.data, KEY));
    buf_reset(&b);
    s.user_data = "#!/bin/sh\necho hi\n";
    assert_int_equal(seed_user_data(&s, &b, &err), 0);
    assert_non_null(strstr(b.data, "text/x-shellscript"));
    assert_non_null(strstr(b.data, "echo hi\n"));
    assert_non_null(strstr(b.data, "merge_how"));
    assert_true(strstr(b.data, "#!/bin/sh") < strstr(b.data, "#cloud-config"));
    buf_reset(&b);
    s.user_data = "MIME-Version: 1.0\nContent-Type: text/x-shellscript\n\n#!/bin/sh\n";
    assert_int_equal(seed_user_data(&s, &b, &err), 0);
    buf_reset(&b);
    s.user_data = NULL;
    s.hosts = "10.9.9.9\tdb\n";
    assert_int_equal(seed_user_data(&s, &b, &err), 0);
    assert_non_null(strstr(b.data, "\"write_files\":[{\"path\":\"/etc/hosts\",\"append\":true,"
                                   "\"content\":\"10.9.9.9\\tdb\\n\"}]"));
    buf_reset(&b);
    s.hosts = NULL;
    s.user_data = "password: x\n";
    assert_true(seed_user_data(&s, &b, &err) < 0);
    /* Alone it goes as it is. */
    s.user = NULL;
    s.keys = NULL;
    assert_int_equal(seed_user_data(&s, &b, &err), 0);
    assert_string_equal(b.data, "password: x\n");
}

static void test_network_config(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct seed s = plain();
    _cleanup_buf_ struct buf b = BUF_INIT(SEED_MAX);
    assert_int_equal(seed_network_config(&s, &b, &err), 0);
    assert_int_equal(b.len, 0);
    s.networks = networks;
    s.n_networks = 2;
    s.dns = dns;
    assert_int_equal(seed_network_config(&s, &b, &err), 0);
    _cleanup_json_ json_t *o = parse(b.data);
    json_t *cards = json_object_get(o, "ethernets");
    assert_int_equal(json_object_size(cards), 2);
    _cleanup_free_ char *first = json_to_text(json_object_get(cards, "eth0"));
    assert_string_equal(
        first,
        "{\"match\":{\"macaddress\":\"52:54:00:12:34:56\"},\"set-name\":\"eth0\",\"addresses\":["
        "\"10.0.0.2/24\",\"fd00::2/64\"],\"routes\":[{\"to\":\"0.0.0.0/0\","
        "\"via\":\"10.0.0.1\"},{\"to\":\"::/0\",\"via\":\"fd00::1\"}],"
        "\"mtu\":1400,\"nameservers\":{\"addresses\":[\"10.0.0.1\"]}}");
    buf_reset(&b);
    s.search = search;
    assert_int_equal(seed_network_config(&s, &b, &err), 0);
    assert_non_null(strstr(b.data, "\"nameservers\":{\"addresses\":[\"10.0.0.1\"],"
                                   "\"search\":[\"example.net\",\"example.org\"]}"));
    buf_reset(&b);
    s.network_config = "version: 1\n";
    assert_int_equal(seed_network_config(&s, &b, &err), 0);
    assert_string_equal(b.data, "version: 1\n");
}

static void test_keys(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    assert_int_equal(seed_key_check(KEY, &err), 0);
    assert_true(seed_key_check("ssh-ed25519", &err) < 0);
    assert_true(seed_key_check("-----BEGIN OPENSSH PRIVATE KEY-----", &err) < 0);
    assert_true(seed_key_check("ssh-rsa A\nB", &err) < 0);
}

static void assert_file(struct archive *a, struct archive_entry *entry)
{
    const char *name = archive_entry_pathname(entry);
    char text[4096] = "";
    if (archive_entry_filetype(entry) == AE_IFDIR)
        return;
    assert_true(archive_read_data(a, text, sizeof(text) - 1) > 0);
    if (strcmp(name, "meta-data") == 0)
        assert_non_null(strstr(text, "\"instance-id\":\"abc\""));
    else if (strcmp(name, "user-data") == 0)
        assert_non_null(strstr(text, KEY));
    else
        assert_string_equal(name, "network-config");
}

/* As another reader sees it. */
static void test_disk(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct seed s = plain();
    struct archive *a = archive_read_new();
    struct archive_entry *entry;
    int files = 0;
    _cleanup_buf_ struct buf b = BUF_INIT(SEED_MAX), again = BUF_INIT(SEED_MAX);
    s.networks = networks;
    s.n_networks = 2;
    assert_int_equal(seed_make(&s, &b, &err), 0);
    assert_int_equal(b.len % 2048, 0);
    assert_memory_equal(b.data + 16 * 2048 + 40, "cidata ", 7);
    assert_int_equal(archive_read_support_format_iso9660(a), ARCHIVE_OK);
    assert_int_equal(archive_read_open_memory(a, b.data, b.len), ARCHIVE_OK);
    for (; archive_read_next_header(a, &entry) == ARCHIVE_OK; files++)
        assert_file(a, entry);
    assert_int_equal(files, 4); /* with the directory */
    archive_read_free(a);
    assert_int_equal(seed_make(&s, &again, &err), 0);
    assert_int_equal(again.len, b.len);
    assert_memory_equal(again.data, b.data, b.len);
}

static void test_bounds(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct seed s = plain();
    _cleanup_buf_ struct buf b = BUF_INIT(SEED_MAX);
    char *large = malloc(2 << 20);
    memset(large, 'x', (2 << 20) - 1);
    large[(2 << 20) - 1] = '\0';
    s.keys = NULL;
    s.user_data = large;
    assert_true(seed_make(&s, &b, &err) < 0);
    assert_int_equal(err.kind, ERROR_LIMIT);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meta_data),      cmocka_unit_test(test_user_data),
        cmocka_unit_test(test_network_config), cmocka_unit_test(test_keys),
        cmocka_unit_test(test_disk),           cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
