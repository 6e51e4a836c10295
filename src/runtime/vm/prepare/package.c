/* Debian's cloud kernel: which package it is now, its file, and the version in the file's name. */
#include <dirent.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "runtime/vm/prepare/prepare.h"

#define META_PACKAGE "linux-image-cloud-amd64"

static void cleanup_dir(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

static int find_one(const char *dir, const char *prefix, char **ret, struct error *err)
{
    _cleanup_(cleanup_dir) DIR *d = opendir(dir);
    struct dirent *entry;
    while (d && (entry = readdir(d)))
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0) {
            *ret = path_join(dir, entry->d_name);
            return 0;
        }
    return error_set(err, ERROR_NOT_FOUND, ENOENT, "apt has put no %s* into %s", prefix, dir);
}

/* The package that the meta package depends on: linux-image-<abi>-cloud-amd64. */
static int find_package(char **ret, struct error *err)
{
    char *const argv[] = {(char *)"apt-cache", (char *)"depends", (char *)META_PACKAGE, NULL};
    _cleanup_buf_ struct buf out = BUF_INIT(65536);
    int r = process_run("apt-cache", argv, -EBADF, &out, err);
    const char *at = r == 0 && out.data ? strstr(out.data, "Depends: linux-image-") : NULL;
    if (!at)
        return error_set(err, ERROR_NOT_FOUND, ENOENT,
                         "Debian's package " META_PACKAGE
                         " is not known here; run: apt-get update");
    at += strlen("Depends: ");
    *ret = xstrndup(at, strcspn(at, " \n"));
    return 0;
}

/* The file that apt would download: its name holds the version. */
static int find_file(const char *package, char **ret, struct error *err)
{
    char *const argv[] = {(char *)"apt-get", (char *)"download", (char *)"--print-uris",
                          (char *)package, NULL};
    _cleanup_buf_ struct buf out = BUF_INIT(65536);
    int r = process_run("apt-get", argv, -EBADF, &out, err);
    if (r < 0)
        return r;
    _cleanup_strv_ char **words = strv_split(out.data ? out.data : "", ' ');
    if (strv_len(words) < 2 || !path_is_name(words[1]))
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "apt knows no file of %s", package);
    *ret = xstrdup(words[1]);
    return 0;
}

int package_version(const char *file, char **ret, struct error *err)
{
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;
    const char *from = strchr(name, '_');
    size_t len = from ? strcspn(from + 1, "_") : 0;
    _cleanup_free_ char *version = xstrndup(len ? from + 1 : "", len);
    if (!path_is_name(version) || version[0] == '.')
        return error_invalid(err, "%s is not named as a Debian package is", name);
    *ret = TAKE_PTR(version);
    return 0;
}

int package_find(char **ret_package, char **ret_version, struct error *err)
{
    _cleanup_free_ char *package = NULL, *file = NULL;
    int r = find_package(&package, err);
    if (r == 0)
        r = find_file(package, &file, err);
    if (r == 0)
        r = package_version(file, ret_version, err);
    if (r == 0)
        *ret_package = TAKE_PTR(package);
    return r;
}

/* apt puts the file where it is started. */
int package_download(const char *package, const char *dir, char **ret_file, struct error *err)
{
    char *const argv[] = {(char *)"apt-get", (char *)"-q", (char *)"download", (char *)package,
                          NULL};
    if (chdir(dir) < 0)
        return error_errno(err, errno, "enter %s", dir);
    int r = process_run("apt-get", argv, -EBADF, NULL, err);
    return r < 0 ? error_prefix(err, "download %s", package)
                 : find_one(dir, "linux-image-", ret_file, err);
}
