/*
 * The PC's command line, in shapes that no test can start here: with KVM, where this host has none,
 * and for Windows, which is in no package.
 */
#include "check.h"

#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/process.h"
#include "base/strv.h"
#include "runtime/vm/pc.h"
#include "runtime/vm/share.h"

#define WALLS "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

/* A machine with one disk, and its command line. */
struct pc {
    struct bundle bundle;
    struct vm_pc files;
    struct vm_shares shares;
    struct vm_qemu qemu;
    char **argv;
};

static void pc_done(struct pc *p)
{
    strv_free(p->argv);
    bundle_done(&p->bundle);
}
#define _cleanup_pc_ _cleanup_(pc_done)

static void pc_init(struct pc *p, const struct bundle_machine *shape)
{
    memset(p, 0, sizeof(*p));
    p->bundle.machine = *shape;
    p->bundle.machine.cpu_model = xstrdup(shape->cpu_model);
    p->bundle.id = xstrdup("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    p->bundle.cpus = 2;
    p->bundle.memory_bytes = (uint64_t)1 << 30;
    struct machine_disk *d = bundle_machine_add_disk(&p->bundle.machine);
    d->file = xstrdup("disk0.raw");
    d->format = xstrdup("raw");
    p->files.files[p->files.n_files++] = 9;
    p->files.tpm_fd = -EBADF;
    p->qemu = (struct vm_qemu)VM_QEMU_INIT;
    p->qemu.bundle = &p->bundle;
    p->qemu.pc = &p->files;
    p->qemu.shares = &p->shares;
}

static void pc_argv(struct pc *p, bool kvm)
{
    strv_free(p->argv);
    p->qemu.kvm = kvm;
    p->argv = vm_pc_argv(&p->qemu, 3, 4, 5);
}

/* The value of an option that stands once; NULL: it is not there. */
static const char *value(const struct pc *p, const char *option)
{
    for (char **a = p->argv; *a; a++)
        if (strcmp(*a, option) == 0)
            return a[1];
    return NULL;
}

static bool has(const struct pc *p, const char *option, const char *wanted)
{
    for (char **a = p->argv; *a; a++)
        if (strcmp(*a, option) == 0 && a[1] && strcmp(a[1], wanted) == 0)
            return true;
    return false;
}

static bool mentions(const struct pc *p, const char *word)
{
    for (char **a = p->argv; *a; a++)
        if (strstr(*a, word))
            return true;
    return false;
}

static const struct bundle_machine any_other = {0}, windows = {.windows = true, .local_time = true},
                                   everything = {.uefi = true,
                                                 .secure_boot = true,
                                                 .tpm = true,
                                                 .vnc = true,
                                                 .cpus_max = 4,
                                                 .memory_max = (uint64_t)4 << 30};

/* --- Windows under KVM --- */

static void test_windows_under_kvm(void **state)
{
    /* QEMU starts with none of the first without the second. */
    static const char *const needs[][2] = {
        {"hv-stimer", "hv-synic"},     {"hv-stimer", "hv-time"}, {"hv-synic", "hv-vpindex"},
        {"hv-tlbflush", "hv-vpindex"}, {"hv-ipi", "hv-vpindex"},
    };
    _cleanup_pc_ struct pc p;
    (void)state;
    pc_init(&p, &windows);
    pc_argv(&p, true);
    const char *cpu = value(&p, "-cpu");
    assert_int_equal(strncmp(cpu, "host,hv-relaxed,", 16), 0);
    _cleanup_strv_ char **words = strv_split(cpu, ',');
    for (size_t i = 0; i < ARRAY_SIZE(needs); i++) {
        assert_true(strv_has(words, needs[i][0]));
        assert_true(strv_has(words, needs[i][1]));
    }
    assert_true(strv_has(words, "hv-vapic"));
    assert_true(strv_has(words, "hv-spinlocks=0x1fff"));
    assert_true(has(&p, "-accel", "kvm"));
    assert_false(mentions(&p, "tcg"));
    assert_true(has(&p, "-global", "kvm-pit.lost_tick_policy=delay"));
    assert_true(has(&p, "-rtc", "base=localtime,driftfix=slew"));
    assert_false(has(&p, "-device", "pvpanic")); /* an unknown device to Windows */
}

static void test_windows_with_a_model(void **state)
{
    const struct bundle_machine m = {.windows = true, .cpu_model = (char *)"Skylake-Client,-avx2"};
    _cleanup_pc_ struct pc p;
    (void)state;
    pc_init(&p, &m);
    pc_argv(&p, true);
    assert_int_equal(strncmp(value(&p, "-cpu"), "Skylake-Client,-avx2,hv-relaxed,", 32), 0);
    assert_true(has(&p, "-rtc", "base=utc"));
    pc_argv(&p, false);
    assert_string_equal(value(&p, "-cpu"), "Skylake-Client,-avx2");
}

/* Hyper-V's words are KVM's: without it, and without Windows, there are none. */
static void test_without_either(void **state)
{
    _cleanup_pc_ struct pc w, o;
    (void)state;
    pc_init(&w, &windows);
    pc_init(&o, &any_other);
    pc_argv(&w, false);
    assert_string_equal(value(&w, "-cpu"), "max,la57=off,-erms,-fsrm"); /* with cmpxchg16b */
    assert_false(mentions(&w, "kvm"));
    pc_argv(&o, true);
    assert_string_equal(value(&o, "-cpu"), "host");
    assert_true(has(&o, "-accel", "kvm"));
    assert_false(mentions(&o, "kvm-pit"));
    assert_true(has(&o, "-device", "pvpanic"));
    pc_argv(&o, false);
    assert_string_equal(value(&o, "-cpu"), "max,la57=off,-cx16,-erms,-fsrm");
    assert_false(mentions(&o, "hv-"));
}

/* QEMU has a property of each name: a word that it does not know would end it at its start. */
static void test_qemu_knows_the_words(void **state)
{
    char *const help[] = {(char *)"qemu", (char *)"-device", (char *)"max-x86_64-cpu,help", NULL};
    _cleanup_buf_ struct buf known = BUF_INIT((size_t)1 << 20);
    _cleanup_pc_ struct pc p;
    struct error err = ERROR_INIT;
    (void)state;
    if (access(VM_QEMU, X_OK) < 0)
        skip();
    pc_init(&p, &windows);
    pc_argv(&p, true);
    assert_int_equal(process_run(VM_QEMU, help, -EBADF, &known, &err), 0);
    _cleanup_strv_ char **words = strv_split(value(&p, "-cpu"), ',');
    for (size_t i = 1; words[i]; i++) {
        _cleanup_free_ char *property = xasprintf(" %.*s=<", (int)strcspn(words[i], "="), words[i]);
        if (!strstr(known.data, property))
            fail_msg("QEMU has no %s", words[i]);
    }
}

/* --- what every shape has --- */

/* What a machine was given while it ran, as the memory of a snapshot wants it back. */
static void plug_in(struct pc *p)
{
    p->qemu.shape = vm_shape_plain(2, p->bundle.memory_bytes);
    p->qemu.shape.more_cpus = 1;
    p->qemu.shape.modules[p->qemu.shape.n_modules++] = (uint64_t)128 << 20;
}

static void check_walls(const struct pc *p)
{
    static const char *const never[] = {"floppy", "e1000", "user,", "smbus=on", "vmport=on"};
    assert_true(has(p, "-sandbox", WALLS));
    assert_true(mentions(p, "-nodefaults"));
    assert_true(mentions(p, "-no-user-config"));
    for (size_t i = 0; i < ARRAY_SIZE(never); i++)
        if (mentions(p, never[i]))
            fail_msg("%s", never[i]);
    /* Machines whose pages KSM has merged can tell by the time of a write what the other has. */
    assert_non_null(strstr(value(p, "-M"), ",mem-merge=off,"));
    for (char **a = p->argv; *a; a++)
        if (strncmp(*a, "memory-backend-", 15) == 0)
            assert_non_null(strstr(*a, ",merge=off"));
}

static void test_walls(void **state)
{
    const struct bundle_machine *const shapes[] = {&any_other, &windows, &everything};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(shapes) * 2; i++) {
        _cleanup_pc_ struct pc p;
        pc_init(&p, shapes[i / 2]);
        pc_argv(&p, i % 2);
        check_walls(&p);
        assert_false(mentions(&p, "memory-backend-"));
        plug_in(&p);
        pc_argv(&p, i % 2);
        assert_true(mentions(&p, "memory-backend-"));
        check_walls(&p);
    }
}

/* Devices that a hostile guest could reach are there when they were asked for, and only then. */
static void test_devices_that_were_asked_for(void **state)
{
    static const char *const asked[] = {"usb", "VGA", "pflash", "tpm", "smm=on", "maxmem=4096M"};
    _cleanup_pc_ struct pc all, none;
    (void)state;
    pc_init(&all, &everything);
    pc_init(&none, &any_other);
    all.files.tpm_fd = 6;
    pc_argv(&all, true);
    pc_argv(&none, true);
    for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
        if (!mentions(&all, asked[i]) || mentions(&none, asked[i]))
            fail_msg("%s", asked[i]);
    }
    assert_true(has(&all, "-vnc", "none"));
    assert_true(has(&none, "-display", "none"));
    assert_true(has(&all, "-global", "driver=cfi.pflash01,property=secure,value=on"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows_under_kvm),
        cmocka_unit_test(test_windows_with_a_model),
        cmocka_unit_test(test_without_either),
        cmocka_unit_test(test_qemu_knows_the_words),
        cmocka_unit_test(test_walls),
        cmocka_unit_test(test_devices_that_were_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
