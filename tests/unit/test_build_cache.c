/* service/store/build: steps by their keys, the layers that they keep, and digests of files. */
#include "check.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/store/build.h"

#define DIFF "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID   "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

struct place {
    char dir[64];
    struct store *store;
};

static int setup(void **state)
{
    struct place *p = xnew(struct place);
    struct error err = ERROR_INIT;
    snprintf(p->dir, sizeof(p->dir), "/tmp/proa-cache-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    if (store_open(p->dir, &p->store, &err) < 0)
        fail_msg("%s", err.msg);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    assert_int_equal(path_remove_tree(AT_FDCWD, p->store->run), 0);
    store_close(p->store);
    assert_int_equal(path_remove_tree(AT_FDCWD, p->dir), 0);
    free(p);
    return 0;
}

static bool find(struct place *p, const char *key, struct store_step *ret)
{
    struct error err = ERROR_INIT;
    bool found = false;
    if (store_step_find(p->store, key, ret, &found, &err) < 0)
        fail_msg("%s", err.msg);
    return found;
}

static void test_steps(void **state)
{
    struct place *p = *state;
    struct error err = ERROR_INIT;
    struct store_step step = {0};
    const struct store_layer layer = {.diff_id = (char *)DIFF, .bytes = 10, .tar_bytes = 20};
    assert_false(find(p, "k", &step));
    assert_int_equal(store_step_add(p->store, "k", &layer, 5, &err), 0);
    assert_int_equal(store_step_add(p->store, "nothing", NULL, 6, &err), 0);
    assert_true(find(p, "k", &step));
    assert_string_equal(step.diff_id, DIFF);
    assert_int_equal(step.bytes, 10);
    assert_int_equal(step.created_ns, 5);
    store_step_done(&step);
    assert_true(find(p, "nothing", &step));
    assert_null(step.diff_id);
    assert_int_equal(store_step_add(p->store, "k", NULL, 7, &err), 0);
    assert_true(find(p, "k", &step));
    assert_null(step.diff_id);
}

static bool layer_known(struct place *p)
{
    struct error err = ERROR_INIT;
    bool known = false;
    assert_int_equal(store_layer_known(p->store, DIFF, &known, NULL, &err), 0);
    return known;
}

static size_t count(struct store_layer *list)
{
    size_t n = 0;
    while (list[n].diff_id)
        n++;
    store_layer_list_free(list);
    return n;
}

/* A layer stays for as long as an image or the cache needs it. */
static void test_layers_are_kept(void **state)
{
    struct place *p = *state;
    struct error err = ERROR_INIT;
    struct store_layer layer = {.diff_id = (char *)DIFF, .bytes = 10}, *gone = NULL;
    const struct store_image image = {.id = (char *)ID,
                                      .architecture = (char *)"amd64",
                                      .os = (char *)"linux",
                                      .layers = &layer,
                                      .n_layers = 1};
    assert_int_equal(store_step_add(p->store, "k", &layer, 5, &err), 0);
    assert_int_equal(store_image_add(p->store, &image, &err), 0);
    assert_int_equal(store_image_remove(p->store, ID, &gone, &err), 0);
    assert_int_equal(count(gone), 0);
    assert_true(layer_known(p));
    assert_int_equal(store_steps_forget(p->store, time_now_ns() - 1000000000, &gone, &err), 0);
    assert_int_equal(count(gone), 0);
    assert_int_equal(store_steps_forget(p->store, INT64_MAX, &gone, &err), 0);
    assert_int_equal(count(gone), 1);
    assert_false(layer_known(p));
}

static bool find_file(struct store_files *f, const struct stat *st, unsigned char *digest)
{
    struct error err = ERROR_INIT;
    bool found = false;
    assert_int_equal(store_files_find(f, st, digest, &found, &err), 0);
    return found;
}

static void test_files(void **state)
{
    struct place *p = *state;
    struct error err = ERROR_INIT;
    struct store_files *f = NULL;
    unsigned char one[STORE_DIGEST_BYTES] = {1}, got[STORE_DIGEST_BYTES] = {0};
    struct stat st = {.st_dev = 1, .st_ino = 2, .st_size = 3, .st_mtim = {4, 5}, .st_ctim = {6, 7}};
    assert_int_equal(store_files_open(p->store, &f, &err), 0);
    assert_false(find_file(f, &st, got));
    store_files_set(f, &st, one);
    assert_false(find_file(f, &st, got));
    assert_int_equal(store_files_write(f, &err), 0);
    assert_true(find_file(f, &st, got));
    assert_memory_equal(one, got, sizeof(one));
    struct stat other[5] = {st, st, st, st, st};
    other[0].st_dev++;
    other[1].st_ino++;
    other[2].st_size++;
    other[3].st_mtim.tv_nsec++;
    other[4].st_ctim.tv_nsec++;
    for (size_t i = 0; i < ARRAY_SIZE(other); i++)
        assert_false(find_file(f, &other[i], got));
    store_files_set(f, &other[4], one);
    assert_int_equal(store_files_write(f, &err), 0);
    assert_false(find_file(f, &st, got));
    store_files_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_layers_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
