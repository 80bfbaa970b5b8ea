/* fd: closing by scope, moving, and the identity of files. */
#include "descriptors.h"
#include "folder.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

static void closing_marks_it_closed_and_keeps_errno(void **state)
{
    (void)state;
    int fd = dup(STDERR_FILENO);
    int copy = fd;
    errno = EDOM;
    fd_close(&fd);
    assert_int_equal(errno, EDOM);
    assert_int_equal(fd, -1);
    assert_false(is_open(copy));
    errno = EDOM;
    fd_close(&fd); /* none: nothing happens */
    assert_int_equal(errno, EDOM);
    fd = 1 << 20; /* not open: errno stays all the same */
    fd_close(&fd);
    assert_int_equal(errno, EDOM);
    assert_int_equal(fd, -1);
}

static void a_scope_closes_what_was_not_taken(void **state)
{
    (void)state;
    int kept;
    int dropped;
    {
        FD_SCOPED int first = dup(STDERR_FILENO);
        FD_SCOPED int second = dup(STDERR_FILENO);
        FD_SCOPED int none = -1;
        (void)none;
        dropped = first;
        kept = fd_take(&second);
        assert_int_equal(second, -1);
    }
    assert_false(is_open(dropped));
    assert_true(is_open(kept));
    close(kept);
}

static void nonblocking_is_set_beside_other_flags(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    assert_int_equal(fd_set_nonblocking(pair[0]), 0);
    assert_true(fcntl(pair[0], F_GETFL) & O_NONBLOCK);
    assert_false(fcntl(pair[1], F_GETFL) & O_NONBLOCK);
    assert_int_equal(fd_set_nonblocking(pair[0]), 0);
    char byte;
    assert_int_equal(read(pair[0], &byte, 1), -1);
    assert_int_equal(errno, EAGAIN);
    close(pair[0]);
    close(pair[1]);
    assert_int_equal(fd_set_nonblocking(-1), -EBADF);
}

static void identity_tells_files_apart_and_links_from_targets(void **state)
{
    (void)state;
    char folder[FOLDER_SIZE];
    folder_make(folder);
    int directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/file", folder);
    file_write(path, "x");
    assert_int_equal(linkat(directory, "file", directory, "hard", 0), 0);
    assert_int_equal(symlinkat("file", directory, "soft"), 0);
    int file = openat(directory, "file", O_RDONLY | O_CLOEXEC);

    struct file_identity opened;
    struct file_identity named;
    struct file_identity hard;
    struct file_identity soft;
    struct file_identity absolute;
    assert_int_equal(fd_stat(file, &opened), 0);
    assert_int_equal(fd_stat_at(directory, "file", &named), 0);
    assert_int_equal(fd_stat_at(directory, "hard", &hard), 0);
    assert_int_equal(fd_stat_at(directory, "soft", &soft), 0);
    assert_int_equal(fd_stat_at(AT_FDCWD, path, &absolute), 0);
    assert_true(file_identity_equal(&opened, &named));
    assert_true(file_identity_equal(&opened, &hard));
    assert_true(file_identity_equal(&opened, &absolute));
    assert_false(file_identity_equal(&opened, &soft));
    assert_true(S_ISREG(opened.mode));
    assert_true(S_ISLNK(soft.mode));
    assert_int_equal(opened.mode & 0777, named.mode & 0777);

    struct file_identity untouched = {.device = 1, .inode = 2, .mode = 3};
    assert_int_equal(fd_stat_at(directory, "absent", &untouched), -ENOENT);
    assert_int_equal(fd_stat(-1, &untouched), -EBADF);
    assert_int_equal(untouched.device, 1);
    assert_int_equal(untouched.inode, 2);
    assert_int_equal(untouched.mode, 3);
    close(file);
    close(directory);
    folder_remove(folder);
}

static void a_socket_has_an_identity_too(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    struct file_identity first;
    struct file_identity second;
    assert_int_equal(fd_stat(pair[0], &first), 0);
    assert_int_equal(fd_stat(pair[1], &second), 0);
    assert_true(S_ISSOCK(first.mode));
    assert_false(file_identity_equal(&first, &second));
    close(pair[0]);
    close(pair[1]);
}

/* Standard input, output and error while a test closes them. */
static void put_aside(int kept[FD_STANDARD_END])
{
    for (int fd = 0; fd < FD_STANDARD_END; fd++) {
        kept[fd] = fcntl(fd, F_DUPFD_CLOEXEC, FD_STANDARD_END);
        assert_true(kept[fd] >= FD_STANDARD_END);
    }
}

static void put_back(int kept[FD_STANDARD_END])
{
    for (int fd = 0; fd < FD_STANDARD_END; fd++) {
        (void)dup2(kept[fd], fd);
        fd_close(&kept[fd]);
    }
}

static bool is_null(int fd)
{
    struct file_identity found;
    struct file_identity null;
    return fd_stat(fd, &found) == 0 && fd_stat_at(AT_FDCWD, "/dev/null", &null) == 0 &&
           file_identity_equal(&found, &null) && (fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0;
}

static void every_closed_standard_descriptor_becomes_null_and_no_other(void **state)
{
    (void)state;
    int kept[FD_STANDARD_END];
    put_aside(kept);
    bool right = true;
    for (unsigned closed = 0; closed < 1U << FD_STANDARD_END; closed++) {
        for (int fd = 0; fd < FD_STANDARD_END; fd++) {
            (void)dup2(kept[fd], fd);
        }
        for (int fd = 0; fd < FD_STANDARD_END; fd++) {
            if ((closed >> fd & 1) != 0) {
                close(fd);
            }
        }
        fd_plug_standard();
        for (int fd = 0; fd < FD_STANDARD_END; fd++) {
            struct file_identity before;
            struct file_identity found;
            right = right && ((closed >> fd & 1) != 0 ? is_null(fd)
                                                      : fd_stat(kept[fd], &before) == 0 && fd_stat(fd, &found) == 0 &&
                                                            file_identity_equal(&before, &found));
        }
    }
    put_back(kept);
    assert_true(right);
}

static void what_has_a_standard_number_is_moved_and_nothing_else(void **state)
{
    (void)state;
    int kept[FD_STANDARD_END];
    put_aside(kept);
    close(STDIN_FILENO);
    close(STDERR_FILENO);
    int low = dup(kept[STDOUT_FILENO]);
    bool was_low = low == STDIN_FILENO;
    int status = fd_raise(&low);
    bool moved = low >= FD_STANDARD_END && (fcntl(low, F_GETFD) & FD_CLOEXEC) != 0;
    bool plugged = is_null(STDIN_FILENO) && is_null(STDERR_FILENO);
    put_back(kept);
    assert_true(was_low);
    assert_int_equal(status, 0);
    assert_true(moved);
    assert_true(plugged);
    int same = low;
    assert_int_equal(fd_raise(&same), 0);
    assert_int_equal(same, low);
    fd_close(&low);
    assert_int_equal(fd_raise(&low), 0);
    assert_int_equal(low, -1);
}

static void what_cannot_be_moved_stays_where_it_is(void **state)
{
    (void)state;
    int kept[FD_STANDARD_END];
    put_aside(kept);
    descriptors_limit(0);
    close(STDOUT_FILENO);
    int low = dup(kept[STDOUT_FILENO]);
    int status = fd_raise(&low);
    descriptors_allow();
    put_back(kept);
    assert_int_equal(status, -EMFILE);
    assert_int_equal(low, STDOUT_FILENO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(closing_marks_it_closed_and_keeps_errno),
        DESCRIPTOR_TEST(a_scope_closes_what_was_not_taken),
        DESCRIPTOR_TEST(nonblocking_is_set_beside_other_flags),
        DESCRIPTOR_TEST(identity_tells_files_apart_and_links_from_targets),
        DESCRIPTOR_TEST(a_socket_has_an_identity_too),
        DESCRIPTOR_TEST(every_closed_standard_descriptor_becomes_null_and_no_other),
        DESCRIPTOR_TEST(what_has_a_standard_number_is_moved_and_nothing_else),
        DESCRIPTOR_TEST(what_cannot_be_moved_stays_where_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
