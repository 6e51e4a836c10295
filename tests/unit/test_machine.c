/* Machines that boot a disk: what --disk says, and the machine's description in proa.json. */
#include "check.h"

#include "base/alloc.h"
#include "base/json.h"
#include "engine/machine-disks.h"

static void test_specs(void **state)
{
    static const struct {
        const char *text, *source;
        uint64_t bytes;
        bool read_only, has_bus;
        enum machine_bus bus;
        const char *format;
    } good[] = {
        {"size=1g", NULL, 1ull << 30, false, false, MACHINE_VIRTIO, NULL},
        {"data:2,readonly", "data:2", 0, true, false, MACHINE_VIRTIO, NULL},
        {"/a/b.raw,format=raw,bus=sata", "/a/b.raw", 0, false, true, MACHINE_SATA, "raw"},
        {"./x,ro,format=qcow2", "./x", 0, true, false, MACHINE_VIRTIO, "qcow2"},
        {"data,size=20m,bus=scsi", "data", 20u << 20, false, true, MACHINE_SCSI, NULL},
    };
    static const char *const bad[] = {
        "",          "readonly",  "size=",        "size=1g,wat",   "size=1g,readonly",
        "x,bus=usb", "/a,size=1", "x,format=raw", "/a,format=vdi", "size=1000",
        "size=17t",  "a,b",       "size=-1",      "x,readonly=1",  ",size=1g,",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct disk_spec s = {0};
        assert_int_equal(disk_spec_parse(good[i].text, &s, NULL), 0);
        if (good[i].source)
            assert_string_equal(s.source, good[i].source);
        else
            assert_null(s.source);
        assert_int_equal(s.bytes, good[i].bytes);
        assert_int_equal(s.read_only, good[i].read_only);
        assert_int_equal(s.has_bus, good[i].has_bus);
        assert_int_equal(s.bus, good[i].bus);
        assert_true(good[i].format ? strcmp(s.format, good[i].format) == 0 : !s.format);
        disk_spec_done(&s);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct disk_spec s = {0};
        struct error err = ERROR_INIT;
        assert_true(disk_spec_parse(bad[i], &s, &err) < 0);
        assert_true(err.msg[0]);
    }
}

static void test_description(void **state)
{
    struct bundle_machine m = {.uefi = true,
                               .tpm = true,
                               .boot_net = 3,
                               .cpus_max = 4,
                               .memory_max = 5ull << 40,
                               .cpu_model = xstrdup("max,-avx"),
                               .limits = xstrdup("{\"cpu\":{\"shares\":7}}")};
    struct bundle_machine back = {0};
    (void)state;
    struct machine_disk *d = bundle_machine_add_disk(&m);
    *d = (struct machine_disk){.file = xstrdup("/b/disk0.qcow2"),
                               .format = xstrdup("qcow2"),
                               .bytes = 1ull << 33,
                               .bus = MACHINE_SCSI,
                               .boot = 1};
    struct machine_part *p = machine_disk_add_part(d);
    *p = (struct machine_part){xstrdup("/s/1.pack"), xstrdup("/b/disk0.map0")};
    p = machine_disk_add_part(d);
    *p = (struct machine_part){xstrdup("/s/2.pack"), NULL};
    d = bundle_machine_add_disk(&m);
    *d = (struct machine_disk){.file = xstrdup("/x.iso"),
                               .format = xstrdup("raw"),
                               .read_only = true,
                               .cdrom = true,
                               .bus = MACHINE_SATA};
    _cleanup_json_ json_t *o = bundle_machine_to_json(&m);
    assert_int_equal(bundle_machine_from_json(o, &back, NULL), 0);
    _cleanup_json_ json_t *again = bundle_machine_to_json(&back);
    assert_true(json_equal(o, again));
    assert_true(machine_boots_disk(&back) && back.uefi && !back.vnc);
    assert_int_equal(back.memory_max, 5ull << 40);
    assert_string_equal(back.limits, "{\"cpu\":{\"shares\":7}}");
    assert_int_equal(back.disks[0].bus, MACHINE_SCSI);
    assert_null(back.disks[0].parts[1].map);
    assert_true(back.disks[1].cdrom);
    bundle_machine_done(&m);
    bundle_machine_done(&back);
}

static void test_bad_descriptions(void **state)
{
    static const char *const bad[] = {
        "{\"disks\":[{}]}",
        "{\"disks\":[{\"file\":\"/x\",\"bus\":\"usb\"}]}",
        "{\"disks\":[{\"file\":\"/x\",\"parts\":[{}]}]}",
        "{\"disks\":[{\"file\":\"/x\",\"bytes\":-1}]}",
        "{\"disks\":7}",
        "{\"uefi\":\"yes\"}",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct bundle_machine m = {0};
        struct error err = ERROR_INIT;
        json_t *o = NULL;
        assert_int_equal(json_parse(bad[i], strlen(bad[i]), "test", &o, NULL), 0);
        assert_true(bundle_machine_from_json(o, &m, &err) < 0);
        json_decref(o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_specs),
        cmocka_unit_test(test_description),
        cmocka_unit_test(test_bad_descriptions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
