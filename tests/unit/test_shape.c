#include "check.h"

#include <string.h>

#include "wire/qmp/shape.h"

#define MIB ((uint64_t)1 << 20)

static void test_there_and_back(void **state)
{
    (void)state;
    struct vm_shape s = vm_shape_plain(1, 256 * MIB + 4096), back;
    struct error err = ERROR_INIT;
    char bytes[VM_SHAPE_BYTES];
    assert_int_equal(vm_shape_memory(&s), 256 * MIB);
    s.more_cpus = 2;
    s.left = 128 * MIB;
    s.n_modules = 2;
    s.modules[0] = 128 * MIB;
    s.modules[1] = 384 * MIB;
    s.cards = 2;
    for (unsigned int port = 0; port < VM_CARD_PORTS; port++)
        vm_shape_plug(&s, port);
    vm_shape_unplug(&s, 1);
    vm_shape_unplug(&s, 0);
    vm_shape_plug(&s, 1);
    vm_shape_write(&s, bytes);
    assert_true(vm_shape_is(bytes, sizeof(bytes)));
    assert_int_equal(vm_shape_read(bytes, sizeof(bytes), &back, &err), 0);
    assert_int_equal(back.cpus, 1);
    assert_int_equal(back.more_cpus, 2);
    assert_int_equal(back.memory, 256 * MIB);
    assert_int_equal(back.n_modules, 2);
    assert_int_equal(vm_shape_memory(&back), 640 * MIB);
    static const int ports[] = {-1, -1, 2, 3, 1};
    assert_int_equal(back.cards, 2);
    assert_int_equal(back.n_ports, 3);
    for (size_t i = 0; i < ARRAY_SIZE(ports); i++)
        assert_int_equal(vm_shape_port(&back, i), ports[i]);
}

static void test_older_memory_has_none(void **state)
{
    (void)state;
    assert_false(vm_shape_is("QEVM\0\0\0\3", 8));
    assert_false(vm_shape_is("PROASHA", 7));
    /* Nor had it, later, anything to say of cards. */
    struct vm_shape s = vm_shape_plain(1, 256 * MIB), back;
    struct error err = ERROR_INIT;
    char bytes[VM_SHAPE_BYTES];
    vm_shape_write(&s, bytes);
    assert_memory_equal(bytes + 20, "\0\0\0", 4);
    assert_int_equal(vm_shape_read(bytes, sizeof(bytes), &back, &err), 0);
    assert_int_equal(back.cards, -1);
    assert_int_equal(vm_shape_port(&back, 0), -1);
}

/* Each number at its place, as one that no machine has. */
static void test_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint32_t value;
    } bad[] = {{0, 0},       {8, 0},           {8, 256},         {12, 255},   {12, UINT32_MAX},
               {16, 9},      {16, UINT32_MAX}, {20, 10},         {20, 0x100}, {20, 0x501},
               {20, 0x1101}, {20, 0x1001},     {20, 0x43211001}, {24, 1},     {24, 0},
               {28, ~0u},    {32, 0},          {36, 1},          {40, 4096},  {40, 0}};
    struct vm_shape s = vm_shape_plain(2, 256 * MIB), back;
    struct error err = ERROR_INIT;
    s.n_modules = 1;
    s.modules[0] = 128 * MIB;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char bytes[VM_SHAPE_BYTES];
        vm_shape_write(&s, bytes);
        memcpy(bytes + bad[i].at, &bad[i].value, sizeof(uint32_t));
        assert_true(vm_shape_read(bytes, sizeof(bytes), &back, &err) < 0);
    }
    char bytes[VM_SHAPE_BYTES];
    vm_shape_write(&s, bytes);
    assert_true(vm_shape_read(bytes, sizeof(bytes) - 1, &back, &err) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_older_memory_has_none),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
