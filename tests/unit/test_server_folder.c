/* folder: whose folders and links lead to a socket. */
#include "descriptors.h"
#include "folder.h"

#include "server/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { STRANGER = 12345 };

static void make_folder(const char *name, mode_t mode, uid_t owner)
{
    char path[PATH_SIZE];
    path_in(path, name);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, mode), 0);
    assert_int_equal(lchown(path, owner, (gid_t)-1), 0);
}

static void make_link(const char *name, const char *target, uid_t owner)
{
    char path[PATH_SIZE];
    path_in(path, name);
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(lchown(path, owner, (gid_t)-1), 0);
}

/* Opens it; it must be possible. */
static struct folder_danger danger_of(const char *name)
{
    char path[PATH_SIZE];
    struct folder_danger danger;
    struct error err = {0};
    path_in(path, name);
    int fd = folder_open(path, &danger, &err);
    if (fd < 0) {
        fail_msg("%s: %s", name, err.text);
    }
    close(fd);
    return danger;
}

static bool is_same(const char *name, const char *other)
{
    char path[PATH_SIZE];
    char other_path[PATH_SIZE];
    struct folder_danger danger;
    struct error err = {0};
    struct stat a;
    struct stat b;
    path_in(path, name);
    path_in(other_path, other);
    int fd = folder_open(path, &danger, &err);
    if (fd < 0) {
        fail_msg("%s: %s", name, err.text);
    }
    assert_int_equal(fstat(fd, &a), 0);
    assert_int_equal(stat(other_path, &b), 0);
    close(fd);
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static void what_is_missing_is_made_and_never_open_to_everybody(void **state)
{
    (void)state;
    static const struct {
        mode_t mask;
        mode_t made;
    } rows[] = {{0, 0755}, {022, 0755}, {077, 0700}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[32];
        char path[PATH_SIZE];
        struct stat status;
        (void)snprintf(name, sizeof name, "a%zu//b/./c/", i);
        mode_t before = umask(rows[i].mask);
        (void)danger_of(name);
        umask(before);
        for (size_t cut = strlen(name); cut > 1; cut--) {
            path_in(path, name);
            assert_int_equal(stat(path, &status), 0);
            assert_int_equal(status.st_mode & 07777, rows[i].made);
            name[cut - 1] = '\0';
        }
    }
}

static void links_of_root_or_ours_are_followed(void **state)
{
    (void)state;
    char absolute[PATH_SIZE];
    path_in(absolute, "real/deep");
    make_folder("real", 0755, geteuid());
    make_folder("real/deep", 0755, geteuid());
    make_link("relative", "real", geteuid());
    make_link("absolute", absolute, geteuid());
    make_link("chain", "relative/./deep/../deep", geteuid());
    assert_true(is_same("relative", "real"));
    assert_true(is_same("relative/deep", "real/deep"));
    assert_true(is_same("absolute", "real/deep"));
    assert_true(is_same("absolute/..", "real"));
    assert_true(is_same("chain", "real/deep"));
    assert_int_equal(danger_of("chain").kind, FOLDER_SAFE);
}

static void links_that_lead_nowhere_end(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    struct folder_danger danger;
    struct error err = {0};
    make_link("first", "second", geteuid());
    make_link("second", "first", geteuid());
    path_in(path, "first/x");
    assert_int_equal(folder_open(path, &danger, &err), -ELOOP);
    assert_non_null(strstr(err.text, strerror(ELOOP)));
}

static void a_link_of_another_user_is_refused_by_name(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    struct folder_danger danger;
    struct error err = {0};
    if (geteuid() != 0) {
        skip();
    }
    make_folder("real", 0755, 0);
    make_link("his", "real", STRANGER);
    make_link("ours", "his", 0);
    static const char *const names[] = {"his", "his/deeper", "ours"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        path_in(path, names[i]);
        assert_int_equal(folder_open(path, &danger, &err), -ELOOP);
        assert_non_null(strstr(err.text, "/his"));
        assert_non_null(strstr(err.text, "12345"));
    }
    path_in(path, "real");
    assert_int_equal(folder_count(path), 0);
}

static void folders_in_which_others_could_take_the_place_are_told(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        skip();
    }
    make_folder("his", 0755, STRANGER);
    make_folder("his/ours", 0755, 0);
    make_folder("his_sticky", 01777, STRANGER);
    make_folder("open", 0777, 0);
    make_folder("open/ours", 0700, 0);
    make_folder("sticky", 01777, 0);
    make_folder("group", 02770, 0);
    static const struct {
        const char *name;
        enum folder_danger_kind kind;
        const char *told;
    } rows[] = {
        {"his", FOLDER_FOREIGN, "/his"},
        {"his/ours", FOLDER_FOREIGN, "/his"},
        {"his_sticky", FOLDER_FOREIGN, "/his_sticky"},
        {"open", FOLDER_OPEN, "/open"},
        {"open/ours", FOLDER_OPEN, "/open"},
        {"sticky", FOLDER_SAFE, ""},
        {"sticky/made", FOLDER_SAFE, ""},
        {"group", FOLDER_SAFE, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct folder_danger danger = danger_of(rows[i].name);
        size_t size = strlen(danger.name);
        size_t told = strlen(rows[i].told);
        if (danger.kind != rows[i].kind || size < told || strcmp(danger.name + size - told, rows[i].told) != 0) {
            fail_msg("%s: %d %s", rows[i].name, (int)danger.kind, danger.name);
        }
        assert_int_equal(danger.owner, danger.kind == FOLDER_FOREIGN ? STRANGER : 0);
    }
}

static void names_that_are_too_long_are_refused(void **state)
{
    (void)state;
    static char name[5000];
    struct folder_danger danger;
    struct error err = {0};
    memset(name, 'n', sizeof name - 1);
    assert_int_equal(folder_open(name, &danger, &err), -ENAMETOOLONG);
    name[300] = '\0';
    assert_int_equal(folder_open(name, &danger, &err), -ENAMETOOLONG);
    assert_non_null(strstr(err.text, strerror(ENAMETOOLONG)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(what_is_missing_is_made_and_never_open_to_everybody),
        FOLDER_TEST(links_of_root_or_ours_are_followed),
        FOLDER_TEST(links_that_lead_nowhere_end),
        FOLDER_TEST(a_link_of_another_user_is_refused_by_name),
        FOLDER_TEST(folders_in_which_others_could_take_the_place_are_told),
        FOLDER_TEST(names_that_are_too_long_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
