/* What was pushed, as rows: repositories do not see each other, and a file's last user is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "service/store/content.h"
#include "service/store/image.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

struct place {
    char path[64];
    struct store *store;
};

static int set_up(void **state)
{
    struct place *p = xnew(struct place);
    snprintf(p->path, sizeof(p->path), "/tmp/proa-content-XXXXXX");
    assert_non_null(mkdtemp(p->path));
    assert_int_equal(store_open(p->path, &p->store, NULL), 0);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    _cleanup_free_ char *run = xstrdup(p->store->run);
    store_close(p->store);
    assert_int_equal(path_remove_tree(AT_FDCWD, p->path), 0);
    assert_int_equal(path_remove_tree(AT_FDCWD, run), 0);
    free(p);
    return 0;
}

static bool used(struct store *s, const char *digest)
{
    bool yes = false;
    assert_int_equal(store_blob_used(s, digest, &yes, NULL), 0);
    return yes;
}

static void test_blobs(void **state)
{
    struct store *s = ((struct place *)*state)->store;
    bool found = true, removed = false;
    uint64_t bytes = 0;
    assert_int_equal(store_content_find_blob(s, NULL, A, &found, &bytes, NULL), 0);
    assert_false(found);
    assert_int_equal(store_content_add_blob(s, "one", A, 7, NULL), 0);
    assert_int_equal(store_content_add_blob(s, "one", A, 7, NULL), 0);
    assert_int_equal(store_content_add_blob(s, "two", A, 7, NULL), 0);
    assert_int_equal(store_content_find_blob(s, "three", A, &found, &bytes, NULL), 0);
    assert_false(found);
    assert_int_equal(store_content_find_blob(s, NULL, A, &found, &bytes, NULL), 0);
    assert_true(found);
    assert_int_equal(bytes, 7);
    assert_int_equal(store_content_remove_blob(s, "one", A, &removed, NULL), 0);
    assert_true(removed);
    assert_int_equal(store_content_remove_blob(s, "one", A, &removed, NULL), 0);
    assert_false(removed);
    assert_true(used(s, A));
    assert_int_equal(store_content_remove_blob(s, "two", A, &removed, NULL), 0);
    assert_false(used(s, A));
}

static void add(struct store *s, const char *repository, const char *digest, const char *subject)
{
    const struct store_manifest m = {.digest = (char *)digest,
                                     .media_type = (char *)"a/b",
                                     .subject = (char *)subject,
                                     .bytes = 9};
    assert_int_equal(store_content_add_manifest(s, repository, &m, NULL), 0);
}

static void test_tags_go_with_their_manifest(void **state)
{
    struct store *s = ((struct place *)*state)->store;
    _cleanup_strv_ char **before = NULL, **after = NULL;
    _cleanup_free_ char *digest = NULL, *image = NULL;
    bool removed = false;
    add(s, "one", A, NULL);
    add(s, "two", A, NULL);
    assert_true(store_content_set_tag(s, "one", "x", B, NULL, NULL) < 0); /* of nothing */
    assert_int_equal(store_content_set_tag(s, "one", "x", A, NULL, NULL), 0);
    assert_int_equal(store_content_set_tag(s, "one", "a", A, C, NULL), 0);
    assert_int_equal(store_content_set_tag(s, "two", "x", A, NULL, NULL), 0);
    assert_int_equal(store_content_tags(s, "one", A, &before, NULL), 0);
    assert_int_equal(strv_len(before), 2);
    assert_string_equal(before[0], "a");
    assert_int_equal(store_content_find_tag(s, "one", "a", &digest, &image, NULL), 0);
    assert_string_equal(digest, A);
    assert_string_equal(image, C);
    assert_int_equal(store_content_remove_manifest(s, "one", A, &removed, NULL), 0);
    assert_true(removed);
    assert_int_equal(store_content_tags(s, "one", NULL, &after, NULL), 0);
    assert_int_equal(strv_len(after), 0);
    assert_true(used(s, A));
    assert_int_equal(store_content_remove_manifest(s, "two", A, &removed, NULL), 0);
    assert_false(used(s, A));
}

static void test_referrers(void **state)
{
    struct store *s = ((struct place *)*state)->store;
    struct store_manifest *list = NULL;
    add(s, "one", B, A);
    add(s, "one", C, A);
    add(s, "two", C, A);
    assert_int_equal(store_content_referrers(s, "one", A, &list, NULL), 0);
    assert_string_equal(list[0].digest, B);
    assert_string_equal(list[1].digest, C);
    assert_null(list[2].digest);
    store_manifest_list_free(list);
    assert_int_equal(store_content_referrers(s, "one", B, &list, NULL), 0);
    assert_null(list[0].digest);
    store_manifest_list_free(list);
}

static void add_image(struct store *s, const char *id, const char *layer, char **names)
{
    struct store_layer l = {.diff_id = (char *)layer, .bytes = 1, .tar_bytes = 10240};
    const struct store_image i = {.id = (char *)id,
                                  .architecture = (char *)"amd64",
                                  .os = (char *)"linux",
                                  .names = names,
                                  .layers = &l,
                                  .n_layers = 1};
    assert_int_equal(store_image_add(s, &i, NULL), 0);
}

static void test_images_are_in_the_repositories_of_their_names(void **state)
{
    struct store *s = ((struct place *)*state)->store;
    char *names[] = {(char *)"debian:12", (char *)"debian:latest", (char *)"localhost/x:1",
                     (char *)"localhost:5000/y:1", NULL};
    _cleanup_strv_ char **repositories = NULL, **tags = NULL, **none = NULL;
    bool found = false, layer = false;
    uint64_t bytes = 0;
    add_image(s, A, B, names);
    assert_int_equal(store_content_repositories(s, &repositories, NULL), 0);
    assert_int_equal(strv_len(repositories), 3);
    assert_string_equal(repositories[0], "debian");
    assert_string_equal(repositories[2], "localhost:5000/y");
    assert_int_equal(store_content_tags(s, "debian", NULL, &tags, NULL), 0);
    assert_int_equal(strv_len(tags), 2);
    assert_string_equal(tags[1], "latest");
    assert_int_equal(store_content_tags(s, "localhost", NULL, &none, NULL), 0);
    assert_int_equal(strv_len(none), 0);
    assert_int_equal(store_content_of_image(s, "debian", B, &found, &layer, &bytes, NULL), 0);
    assert_true(found && layer);
    assert_int_equal(bytes, 10240);
    assert_int_equal(store_content_of_image(s, "debian", A, &found, &layer, &bytes, NULL), 0);
    assert_true(found && !layer);
    assert_int_equal(store_content_of_image(s, "localhost", B, &found, &layer, &bytes, NULL), 0);
    assert_false(found);
}

static void test_a_made_manifest_goes_with_its_image(void **state)
{
    struct store *s = ((struct place *)*state)->store;
    char *names[] = {(char *)"debian:12", NULL};
    _cleanup_free_ char *digest = NULL, *image = NULL, *gone = NULL;
    struct store_layer *layers = NULL;
    uint64_t bytes = 0;
    add_image(s, A, B, names);
    assert_int_equal(store_content_made(s, A, &digest, &bytes, NULL), 0);
    assert_null(digest);
    assert_int_equal(store_content_set_made(s, A, C, 5, NULL), 0);
    assert_int_equal(store_content_made(s, A, &digest, &bytes, NULL), 0);
    assert_string_equal(digest, C);
    assert_int_equal(store_content_made_image(s, "debian", C, &image, NULL), 0);
    assert_string_equal(image, A);
    assert_int_equal(store_content_made_image(s, "other", C, &gone, NULL), 0);
    assert_null(gone);
    assert_true(used(s, C));
    assert_int_equal(store_image_remove(s, A, &layers, NULL), 0);
    store_layer_list_free(layers);
    assert_false(used(s, C));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_blobs),
        TEST(test_tags_go_with_their_manifest),
        TEST(test_referrers),
        TEST(test_images_are_in_the_repositories_of_their_names),
        TEST(test_a_made_manifest_goes_with_its_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
