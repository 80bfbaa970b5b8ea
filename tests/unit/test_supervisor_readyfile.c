/* readyfile: there with its content or not there at all, also when the disk is full. */
#include "descriptors.h"
#include "folder.h"

#include "supervisor/readyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char path[PATH_SIZE];

static int begin(void **state)
{
    int status = folder_begin(state);
    path_in(path, "runtime-ready");
    return status;
}

#define READY_TEST(function) cmocka_unit_test_setup_teardown(function, begin, folder_end)

static void it_appears_with_its_content_and_goes(void **state)
{
    (void)state;
    assert_int_equal(readyfile_write(path), 0);
    assert_true(file_is(path, "ready\n"));
    assert_int_equal(folder_count(own_folder), 1);
    assert_int_equal(readyfile_write(path), 0); /* again does no harm */
    assert_true(file_is(path, "ready\n"));
    readyfile_remove(path);
    assert_int_equal(folder_count(own_folder), 0);
    readyfile_remove(path); /* nor does once more */
}

static void no_path_is_no_file(void **state)
{
    (void)state;
    assert_int_equal(readyfile_write(""), 0);
    readyfile_remove("");
}

static void it_can_be_read_by_others(void **state)
{
    (void)state;
    mode_t mask = umask(022);
    assert_int_equal(readyfile_write(path), 0);
    umask(mask);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0644);
}

static void what_a_killed_start_left_is_overwritten(void **state)
{
    (void)state;
    char temporary[sizeof path + 8];
    (void)snprintf(temporary, sizeof temporary, "%s.new", path);
    file_write(temporary, "something longer than the content that is written now");
    file_write(path, "");
    assert_int_equal(readyfile_write(path), 0);
    assert_true(file_is(path, "ready\n"));
    assert_int_equal(folder_count(own_folder), 1);
}

static void a_link_in_the_way_is_not_followed(void **state)
{
    (void)state;
    char temporary[sizeof path + 8];
    char victim[sizeof path + 8];
    (void)snprintf(temporary, sizeof temporary, "%s.new", path);
    (void)snprintf(victim, sizeof victim, "%s/victim", own_folder);
    file_write(victim, "precious\n");
    assert_int_equal(symlink(victim, temporary), 0);
    assert_true(readyfile_write(path) < 0);
    assert_true(file_is(victim, "precious\n"));
    assert_int_equal(unlink(temporary), 0);
    assert_int_equal(symlink(victim, path), 0); /* at the path itself the link is replaced, not its target */
    assert_int_equal(readyfile_write(path), 0);
    assert_true(file_is(victim, "precious\n"));
    assert_true(file_is(path, "ready\n"));
}

static void where_it_cannot_be_the_error_is_returned(void **state)
{
    (void)state;
    static char long_path[5000];
    memset(long_path, 'a', sizeof long_path - 1);
    assert_int_equal(readyfile_write("/nonexistent/runtime-ready"), -ENOENT);
    assert_int_equal(readyfile_write(long_path), -ENAMETOOLONG);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_true(readyfile_write(path) < 0);
    assert_int_equal(folder_count(own_folder), 1); /* no temporary file is left */
    readyfile_remove(path);
    assert_int_equal(folder_count(own_folder), 1); /* a folder is not ours */
}

/* A file may grow to `bytes`: 0 is a full disk that still makes files, as real ones do. */
static int write_with_room_for(rlim_t bytes)
{
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {bytes, bytes};
        (void)signal(SIGXFSZ, SIG_IGN);
        _exit(setrlimit(RLIMIT_FSIZE, &limit) != 0 ? 255 : -readyfile_write(path));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return -WEXITSTATUS(status);
}

static void a_full_disk_leaves_no_empty_file_for_a_probe_to_believe(void **state)
{
    (void)state;
    assert_int_equal(write_with_room_for(0), -EFBIG);
    assert_int_equal(folder_count(own_folder), 0);
    assert_int_equal(write_with_room_for(3), -ENOSPC); /* a part was written */
    assert_int_equal(folder_count(own_folder), 0);
    assert_int_equal(write_with_room_for(6), 0);
    assert_true(file_is(path, "ready\n"));
}

static void a_full_disk_does_not_spoil_the_file_that_is_there(void **state)
{
    (void)state;
    assert_int_equal(readyfile_write(path), 0);
    assert_int_equal(write_with_room_for(0), -EFBIG);
    assert_true(file_is(path, "ready\n"));
    assert_int_equal(folder_count(own_folder), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY_TEST(it_appears_with_its_content_and_goes),
        READY_TEST(no_path_is_no_file),
        READY_TEST(it_can_be_read_by_others),
        READY_TEST(what_a_killed_start_left_is_overwritten),
        READY_TEST(a_link_in_the_way_is_not_followed),
        READY_TEST(where_it_cannot_be_the_error_is_returned),
        READY_TEST(a_full_disk_leaves_no_empty_file_for_a_probe_to_believe),
        READY_TEST(a_full_disk_does_not_spoil_the_file_that_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
