/* listener: the socket's file, row by row of the faults it must survive (1b). */
#include "descriptors.h"
#include "folder.h"

#include "base/exits.h"
#include "server/listener.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static unsigned mode_of(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 ? status.st_mode : 0;
}

static ino_t inode_of(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 ? status.st_ino : 0;
}

static int make_socket(const char *path, bool listening)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_true(!listening || listen(fd, 8) == 0);
    return fd;
}

/* A connection to `path`, or -errno. */
static int connect_to(const char *path)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path));
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        int status = -errno;
        close(fd);
        return status;
    }
    return fd;
}

/* Whether somebody who connects to `path` reaches this listener. */
static bool is_served(const struct listener *listener, const char *path)
{
    int client = connect_to(path);
    if (client < 0) {
        return false;
    }
    int accepted = listener_accept(listener);
    if (accepted >= 0) {
        close(accepted);
    }
    close(client);
    return accepted >= 0;
}

static struct listener open_or_fail(const char *path, int mode)
{
    struct listener listener = LISTENER_NONE;
    struct error err = {0};
    int code = listener_open(&listener, &LISTENER_WISH(path, mode), &err);
    if (code != EXIT_OK) {
        fail_msg("%s: %d: %s", path, code, err.text);
    }
    return listener;
}

/* ---- the ordinary life ------------------------------------------------------------------------------------------ */

static void nothing_stands_at_the_path_before_it_is_published(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    struct listener listener = open_or_fail(path, 0600);
    assert_int_equal(mode_of(path), 0);
    assert_int_equal(listener_check(&listener), LISTENER_GONE);
    assert_int_equal(listener_publish(&listener), 0);
    assert_true(S_ISSOCK(mode_of(path)));
    assert_int_equal(listener_check(&listener), LISTENER_OURS);
    assert_true(is_served(&listener, path));
    assert_int_equal(folder_count(own_folder), 2); /* the socket and its lock, no temporary name */
    listener_hide(&listener);
    assert_int_equal(mode_of(path), 0);
    listener_close(&listener);
    assert_int_equal(folder_count(own_folder), 0);
    listener_close(&listener); /* once more does no harm */
}

static void a_start_that_is_given_up_leaves_nothing(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    struct listener listener = open_or_fail(path, 0600);
    listener_close(&listener);
    assert_int_equal(folder_count(own_folder), 0);
    struct listener none = LISTENER_NONE;
    listener_close(&none);
}

static void the_socket_is_nonblocking_and_closed_on_exec(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    struct listener listener = open_or_fail(path, 0600);
    assert_true(fcntl(listener.fd, F_GETFL) & O_NONBLOCK);
    const int fds[] = {listener.fd, listener.folder, listener.lock};
    for (int i = 0; i < 3; i++) {
        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
    }
    assert_int_equal(listener_accept(&listener), -EAGAIN);
    listener_close(&listener);
}

static void accepted_connections_are_nonblocking_and_closed_on_exec(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    struct listener listener = open_or_fail(path, 0600);
    assert_int_equal(listener_publish(&listener), 0);
    int client = connect_to(path);
    int accepted = listener_accept(&listener);
    assert_true(accepted >= 0);
    assert_true(fcntl(accepted, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(accepted, F_GETFD) & FD_CLOEXEC);
    close(accepted);
    close(client);
    listener_close(&listener);
}

static void two_hundred_clients_may_queue(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    struct listener listener = open_or_fail(path, 0600);
    assert_int_equal(listener_publish(&listener), 0);
    static int clients[200];
    for (int i = 0; i < 200; i++) {
        clients[i] = connect_to(path);
        assert_true(clients[i] >= 0);
    }
    for (int i = 0; i < 200; i++) {
        close(clients[i]);
    }
    listener_close(&listener);
}

/* ---- mode ------------------------------------------------------------------------------------------------------- */

struct mode_row {
    const char *name;
    mode_t umask;
    int mode;
    unsigned expected;
};

static const struct mode_row mode_rows[] = {
    {"the default under the usual umask", 022, 0660, 0660},
    {"the wide default under the usual umask", 022, 0666, 0666},
    {"a wide mode under a strict umask", 077, 0777, 0777},
    {"a narrow mode under no umask", 0, 0600, 0600},
    {"nobody's mode", 0, 0, 0},
    {"left to the usual umask", 022, SOCKET_MODE_UMASK, 0755},
    {"left to a strict umask", 077, SOCKET_MODE_UMASK, 0700},
    {"left to no umask", 0, SOCKET_MODE_UMASK, 0777},
};

static void the_mode_is_exactly_what_was_asked_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mode_rows / sizeof mode_rows[0]; i++) {
        const struct mode_row *row = &mode_rows[i];
        char path[PATH_SIZE];
        path_in(path, "app.sock");
        mode_t before = umask(row->umask);
        struct listener listener = open_or_fail(path, row->mode);
        char temporary[PATH_SIZE];
        path_in(temporary, "app.sock.new");
        unsigned early = mode_of(temporary) & 0777;
        int published = listener_publish(&listener);
        mode_t kept = umask(before);
        unsigned found = mode_of(path) & 0777;
        listener_close(&listener);
        if (published != 0 || found != row->expected || early != row->expected || kept != row->umask) {
            fail_msg("%s: %o, %o before, umask then %o", row->name, found, early, (unsigned)kept);
        }
    }
}

/* Another process looks at everything in the folder, all the time, while sockets come and go. */
static void the_mode_is_never_wider_not_even_for_a_moment(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    int stop[2];
    assert_int_equal(pipe2(stop, O_CLOEXEC | O_NONBLOCK), 0);
    pid_t watcher = fork();
    if (watcher == 0) {
        char byte;
        int wide = 0;
        while (read(stop[0], &byte, 1) < 0) {
            DIR *directory = opendir(own_folder);
            const struct dirent *entry;
            while (directory != NULL && (entry = readdir(directory)) != NULL) {
                struct stat status;
                if (fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
                    S_ISSOCK(status.st_mode) && (status.st_mode & 0177) != 0) {
                    wide = 1;
                }
            }
            closedir(directory);
        }
        _exit(wide);
    }
    mode_t before = umask(0);
    for (int i = 0; i < 300; i++) {
        struct listener listener = open_or_fail(path, 0600);
        assert_int_equal(listener_publish(&listener), 0);
        listener_close(&listener);
    }
    umask(before);
    assert_int_equal(write(stop[1], "x", 1), 1);
    int status = -1;
    assert_int_equal(waitpid(watcher, &status, 0), watcher);
    close(stop[0]);
    close(stop[1]);
    assert_int_equal(status, 0);
}

static void working_directory_and_umask_are_as_before(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    char before[PATH_SIZE];
    char after[PATH_SIZE];
    path_in(path, "a/b/app.sock");
    mode_t mask = umask(027);
    assert_non_null(getcwd(before, sizeof before));
    struct listener listener = open_or_fail(path, 0600);
    assert_int_equal(listener_publish(&listener), 0);
    listener_close(&listener);
    assert_non_null(getcwd(after, sizeof after));
    assert_string_equal(before, after);
    assert_int_equal(umask(mask), 027);
}

/* ---- what may stand in the way ---------------------------------------------------------------------------------- */

static void a_stale_socket_is_replaced(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    close(make_socket(path, true));
    assert_int_equal(connect_to(path), -ECONNREFUSED);
    struct listener listener = open_or_fail(path, 0600);
    assert_int_equal(connect_to(path), -ENOENT); /* until the new one is ready */
    assert_int_equal(listener_publish(&listener), 0);
    assert_true(is_served(&listener, path));
    listener_close(&listener);
    assert_int_equal(folder_count(own_folder), 0);
}

static void what_a_killed_start_left_is_replaced(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    char name[PATH_SIZE];
    path_in(path, "app.sock");
    path_in(name, "app.sock.new");
    close(make_socket(name, true));
    path_in(name, "app.sock.lock");
    file_write(name, "");
    struct listener listener = open_or_fail(path, 0600);
    assert_int_equal(listener_publish(&listener), 0);
    assert_true(is_served(&listener, path));
    listener_close(&listener);
    assert_int_equal(folder_count(own_folder), 0);
}

static void a_second_start_is_refused_and_touches_nothing(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    struct listener first = open_or_fail(path, 0600);
    for (int published = 0; published < 2; published++) {
        ino_t inode = inode_of(path);
        struct listener second = LISTENER_NONE;
        struct error err = {0};
        assert_int_equal(listener_open(&second, &LISTENER_WISH(path, 0666), &err), EXIT_RUNNING);
        assert_non_null(strstr(err.text, path));
        assert_int_equal(second.fd, -1); /* written only on success */
        assert_int_equal(inode_of(path), inode);
        if (!published) {
            assert_int_equal(listener_publish(&first), 0);
        }
    }
    assert_int_equal(mode_of(path) & 0777, 0600);
    assert_int_equal(listener_check(&first), LISTENER_OURS);
    assert_true(is_served(&first, path));
    listener_close(&first);
}

static void a_server_of_another_kind_is_left_alone(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    int other = make_socket(path, true);
    ino_t inode = inode_of(path);
    struct listener listener = LISTENER_NONE;
    struct error err = {0};
    assert_int_equal(listener_open(&listener, &LISTENER_WISH(path, 0600), &err), EXIT_RUNNING);
    assert_int_equal(inode_of(path), inode);
    int client = connect_to(path);
    assert_true(client >= 0);
    close(client);
    close(other);
    assert_int_equal(folder_count(own_folder), 1); /* no lock is left behind */
}

/* As if its process had been killed: no file is touched. The listening socket stays open, as with a child the function
 * has forked. */
static int abandon(struct listener *listener)
{
    int held = dup(listener->fd);
    assert_true(held >= 0);
    listener_forget(listener);
    close(listener->fd);
    return held;
}

static void a_socket_is_replaced_whose_maker_was_killed_though_it_is_held_open(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    struct listener killed = open_or_fail(path, 0600);
    assert_int_equal(listener_publish(&killed), 0);
    int held = abandon(&killed);
    int client = connect_to(path);
    assert_true(client >= 0);
    struct listener next = open_or_fail(path, 0600);
    assert_int_equal(listener_publish(&next), 0);
    assert_true(is_served(&next, path));
    listener_close(&next);
    close(client);
    close(held);
    assert_int_equal(folder_count(own_folder), 0);
}

static void a_lock_that_others_could_write_to_says_nothing_of_a_socket(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    char lock[PATH_SIZE];
    path_in(path, "app.sock");
    path_in(lock, "app.sock.lock");
    struct listener killed = open_or_fail(path, 0600);
    assert_int_equal(listener_publish(&killed), 0);
    int held = abandon(&killed);
    assert_int_equal(chmod(lock, 0666), 0);
    struct listener next = LISTENER_NONE;
    struct error err = {0};
    assert_int_equal(listener_open(&next, &LISTENER_WISH(path, 0600), &err), EXIT_RUNNING);
    close(held);
}

static void a_file_with_the_name_of_the_lock_keeps_its_content(void **state)
{
    (void)state;
    static const char *const contents[] = {"precious\n", "so"};
    for (size_t i = 0; i < 2; i++) {
        char path[PATH_SIZE];
        char lock[PATH_SIZE];
        char precious[PATH_SIZE];
        path_in(path, "app.sock");
        path_in(lock, "app.sock.lock");
        path_in(precious, "precious");
        file_write(precious, contents[i]);
        assert_int_equal(link(precious, lock), 0);
        struct listener listener = open_or_fail(path, 0600);
        listener_close(&listener);
        assert_true(file_is(precious, contents[i]));
    }
}

static void make_file_at(const char *path) { file_write(path, "precious\n"); }
static void make_folder_at(const char *path) { assert_int_equal(mkdir(path, 0755), 0); }
static void make_fifo_at(const char *path) { assert_int_equal(mkfifo(path, 0644), 0); }

static void make_link_to_file_at(const char *path)
{
    char victim[PATH_SIZE];
    path_in(victim, "victim");
    file_write(victim, "precious\n");
    assert_int_equal(symlink(victim, path), 0);
}

static void make_link_to_nothing_at(const char *path) { assert_int_equal(symlink("/nonexistent/x", path), 0); }

static void make_link_to_stale_socket_at(const char *path)
{
    char victim[PATH_SIZE];
    path_in(victim, "victim");
    close(make_socket(victim, true));
    assert_int_equal(symlink(victim, path), 0);
}

struct obstacle_row {
    const char *name;
    void (*make)(const char *path);
};

static const struct obstacle_row obstacle_rows[] = {
    {"a regular file", make_file_at},
    {"a folder", make_folder_at},
    {"a FIFO", make_fifo_at},
    {"a symbolic link to a file", make_link_to_file_at},
    {"a dangling link", make_link_to_nothing_at},
    {"a link to a stale socket", make_link_to_stale_socket_at},
};

static void what_is_no_socket_is_refused_and_left_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof obstacle_rows / sizeof obstacle_rows[0]; i++) {
        char path[PATH_SIZE];
        char victim[PATH_SIZE];
        path_in(path, "app.sock");
        path_in(victim, "victim");
        obstacle_rows[i].make(path);
        size_t entries = folder_count(own_folder);
        unsigned mode = mode_of(path);
        ino_t inode = inode_of(path);
        unsigned victim_mode = mode_of(victim);
        ino_t victim_inode = inode_of(victim);
        struct listener listener = LISTENER_NONE;
        struct error err = {0};
        int code = listener_open(&listener, &LISTENER_WISH(path, 0666), &err);
        if (code != EXIT_SOCKET || strstr(err.text, path) == NULL || mode_of(path) != mode || inode_of(path) != inode ||
            mode_of(victim) != victim_mode || inode_of(victim) != victim_inode || folder_count(own_folder) != entries) {
            fail_msg("%s: %d: %s", obstacle_rows[i].name, code, err.text);
        }
        assert_true(!S_ISREG(mode) || file_is(path, "precious\n"));
        assert_true(!S_ISREG(victim_mode) || file_is(victim, "precious\n"));
        folder_remove(own_folder);
        assert_int_equal(mkdir(own_folder, 0700), 0);
    }
}

static void what_appears_before_the_socket_is_published_is_left_alone(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    struct listener listener = open_or_fail(path, 0600);
    file_write(path, "precious\n");
    assert_int_equal(listener_publish(&listener), -EEXIST);
    listener_close(&listener);
    assert_true(file_is(path, "precious\n"));
    assert_int_equal(folder_count(own_folder), 1);
}

static void a_lock_that_is_a_link_is_not_followed(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    char lock[PATH_SIZE];
    char victim[PATH_SIZE];
    path_in(path, "app.sock");
    path_in(lock, "app.sock.lock");
    path_in(victim, "victim");
    assert_int_equal(symlink(victim, lock), 0);
    struct listener listener = LISTENER_NONE;
    struct error err = {0};
    assert_int_equal(listener_open(&listener, &LISTENER_WISH(path, 0600), &err), EXIT_SOCKET);
    assert_int_equal(mode_of(victim), 0);
    assert_true(S_ISLNK(mode_of(lock)));
}

static void a_temporary_name_that_is_taken_is_refused(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    char temporary[PATH_SIZE];
    path_in(path, "app.sock");
    path_in(temporary, "app.sock.new");
    file_write(temporary, "precious\n");
    struct listener listener = LISTENER_NONE;
    struct error err = {0};
    assert_int_equal(listener_open(&listener, &LISTENER_WISH(path, 0600), &err), EXIT_SOCKET);
    assert_true(file_is(temporary, "precious\n"));
    assert_int_equal(folder_count(own_folder), 1);
}

static void of_many_starts_at_once_exactly_one_serves(void **state)
{
    (void)state;
    enum { STARTS = 50 };
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    close(make_socket(path, true)); /* a stale one, to tempt them */
    int go[2];
    assert_int_equal(pipe2(go, O_CLOEXEC), 0);
    pid_t starts[STARTS];
    for (int i = 0; i < STARTS; i++) {
        starts[i] = fork();
        if (starts[i] == 0) {
            char byte;
            close(go[1]);
            (void)!read(go[0], &byte, 1);
            struct listener listener = LISTENER_NONE;
            struct error err;
            int code = listener_open(&listener, &LISTENER_WISH(path, 0600), &err);
            if (code == EXIT_OK && listener_publish(&listener) != 0) {
                code = EXIT_INTERNAL;
            }
            /* the lock is held until the process ends, and that is when all have tried */
            if (code == EXIT_OK) {
                sleep(1);
            }
            _exit(code);
        }
    }
    close(go[0]);
    close(go[1]);
    int served = 0;
    for (int i = 0; i < STARTS; i++) {
        int status = -1;
        assert_int_equal(waitpid(starts[i], &status, 0), starts[i]);
        assert_true(WIFEXITED(status));
        assert_true(WEXITSTATUS(status) == EXIT_OK || WEXITSTATUS(status) == EXIT_RUNNING);
        served += WEXITSTATUS(status) == EXIT_OK;
    }
    assert_int_equal(served, 1);
}

/* ---- paths ------------------------------------------------------------------------------------------------------ */

/* A path of exactly `size` bytes in the folder: through long folders, or with one long name. */
static void path_of_size(char path[PATH_SIZE], size_t size, bool deep)
{
    path_in(path, "");
    size_t used = strlen(path);
    while (used < size) {
        path[used] = deep && used % 20 == 19 && used + 1 < size ? '/' : 's';
        used++;
    }
    path[used] = '\0';
}

static void a_path_of_107_bytes_works_and_of_108_is_refused(void **state)
{
    (void)state;
    for (int deep = 0; deep < 2; deep++) {
        char path[PATH_SIZE];
        path_of_size(path, SOCKET_PATH_MAX, deep);
        struct listener listener = open_or_fail(path, 0600);
        assert_int_equal(listener_publish(&listener), 0);
        assert_true(is_served(&listener, path));
        assert_int_equal(listener_check(&listener), LISTENER_OURS);
        listener_close(&listener);
        assert_int_equal(mode_of(path), 0);
        path_of_size(path, SOCKET_PATH_MAX + 1, deep);
        struct error err = {0};
        assert_int_equal(listener_open(&listener, &LISTENER_WISH(path, 0600), &err), EXIT_SOCKET);
        assert_non_null(strstr(err.text, "108"));
        assert_non_null(strstr(err.text, "107"));
    }
}

/* What the function can do to the socket that it shares. */
static void what_others_made_of_the_socket_is_mended(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    struct listener listener = open_or_fail(path, 0600);
    assert_int_equal(listener_publish(&listener), 0);
    struct timeval none = {0};
    int shared = dup(listener.fd);
    assert_int_equal(fcntl(shared, F_SETFL, 0), 0);
    assert_int_equal(setsockopt(shared, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none), 0);
    assert_int_equal(listen(shared, 0), 0);
    assert_int_equal(listener_accept(&listener), -EAGAIN); /* it does not wait */
    assert_int_equal(fcntl(shared, F_SETFL, 0), 0);
    assert_true(listener_mend(&listener));
    assert_true((fcntl(shared, F_GETFL) & O_NONBLOCK) != 0);
    assert_true(is_served(&listener, path));
    assert_int_equal(shutdown(shared, SHUT_RD), 0);
    assert_false(listener_mend(&listener));
    close(shared);
    int old = -1;
    struct error err = {0};
    assert_int_equal(listener_renew(&listener, &old, &err), LISTENER_RENEWED); /* its file is still there */
    assert_true(listener_mend(&listener));
    assert_true(is_served(&listener, path));
    close(old);
    listener_close(&listener);
}

static void missing_folders_are_made(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    path_in(path, "a/b/c/app.sock");
    struct listener listener = open_or_fail(path, 0600);
    assert_int_equal(listener_publish(&listener), 0);
    assert_true(is_served(&listener, path));
    listener_close(&listener);
    path_in(path, "a//b/./c/app.sock"); /* and found again by another spelling */
    listener = open_or_fail(path, 0600);
    listener_close(&listener);
}

static void a_relative_path_is_one_in_the_working_directory(void **state)
{
    (void)state;
    int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(chdir(own_folder), 0);
    static const char *const paths[] = {"app.sock", "./app.sock", "sub/app.sock"};
    for (size_t i = 0; i < 3; i++) {
        struct listener listener = open_or_fail(paths[i], 0600);
        assert_int_equal(listener_publish(&listener), 0);
        assert_true(is_served(&listener, paths[i]));
        listener_close(&listener);
        assert_int_equal(mode_of(paths[i]), 0);
    }
    assert_int_equal(fchdir(here), 0);
    close(here);
}

struct path_row {
    const char *name;
    const char *path;
};

static const struct path_row path_rows[] = {
    {"an empty path", ""},
    {"the root", "/"},
    {"a folder by its slash", "/tmp/"},
    {"the folder itself", "/tmp/."},
    {"the folder above", "/tmp/.."},
    {"a file in place of a folder", "/dev/null/app.sock"},
    {"a place where nobody can write", "/proc/asya/app.sock"},
};

static void paths_that_cannot_be_are_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof path_rows / sizeof path_rows[0]; i++) {
        struct listener listener = LISTENER_NONE;
        struct error err = {0};
        int code = listener_open(&listener, &LISTENER_WISH(path_rows[i].path, 0600), &err);
        if (code != EXIT_SOCKET || err.category != ERR_SERVER || err.text[0] == '\0') {
            fail_msg("%s: %d: %s", path_rows[i].name, code, err.text);
        }
    }
}

/* ---- what happens to the file meanwhile ------------------------------------------------------------------------- */

static void a_removed_file_is_noticed_and_renewed(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    struct listener listener = open_or_fail(path, 0640);
    assert_int_equal(listener_publish(&listener), 0);
    int waiting = connect_to(path);
    assert_true(waiting >= 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(listener_check(&listener), LISTENER_GONE);
    int old = -1;
    struct error err = {0};
    assert_int_equal(listener_renew(&listener, &old, &err), LISTENER_RENEWED);
    assert_true(old >= 0 && old != listener.fd);
    assert_int_equal(listener_check(&listener), LISTENER_OURS);
    assert_int_equal(mode_of(path) & 0777, 0640);
    assert_true(is_served(&listener, path));
    struct listener queue = {.fd = old};
    int queued = listener_accept(&queue); /* who was queued can still be served */
    assert_true(queued >= 0);
    close(queued);
    close(old);
    close(waiting);
    struct listener second = LISTENER_NONE;
    assert_int_equal(listener_open(&second, &LISTENER_WISH(path, 0600), &err), EXIT_RUNNING); /* the lock was kept */
    listener_close(&listener);
    assert_int_equal(folder_count(own_folder), 0);
}

static void a_socket_of_ours_that_comes_back_is_replaced_and_no_other_is(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    char inner[PATH_SIZE];
    char aside[PATH_SIZE];
    path_in(inner, "inner");
    path_in(aside, "aside");
    path_in(path, "inner/app.sock");
    struct listener listener = open_or_fail(path, 0600);
    assert_int_equal(listener_publish(&listener), 0);
    assert_int_equal(rename(inner, aside), 0); /* as when another folder is mounted over it */
    assert_int_equal(listener_check(&listener), LISTENER_GONE);
    int old = -1;
    struct error err = {0};
    assert_int_equal(listener_renew(&listener, &old, &err), LISTENER_RENEWED);
    close(old);
    assert_int_equal(listener_check(&listener), LISTENER_OURS);
    folder_remove(inner);
    assert_int_equal(rename(aside, inner), 0); /* and unmounted again */
    assert_int_equal(listener_check(&listener), LISTENER_GONE);
    assert_int_equal(listener_renew(&listener, &old, &err), LISTENER_RENEWED);
    close(old);
    assert_true(is_served(&listener, path));
    assert_int_equal(unlink(path), 0);
    int other = make_socket(path, true);
    assert_int_equal(listener_check(&listener), LISTENER_TAKEN);
    close(other);
    assert_int_equal(unlink(path), 0);
    listener_close(&listener);
}

static void a_folder_that_may_not_be_searched_is_no_removed_file(void **state)
{
    (void)state;
    if (geteuid() == 0) {
        skip(); /* root may search everything */
    }
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    struct listener listener = open_or_fail(path, 0600);
    assert_int_equal(listener_publish(&listener), 0);
    assert_int_equal(chmod(own_folder, 0), 0);
    assert_int_equal(listener_check(&listener), LISTENER_UNKNOWN);
    assert_int_equal(chmod(own_folder, 0700), 0);
    assert_int_equal(listener_check(&listener), LISTENER_OURS);
    listener_close(&listener);
}

static void a_removed_folder_is_made_again(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    char inner[PATH_SIZE];
    path_in(inner, "inner");
    path_in(path, "inner/app.sock");
    struct listener listener = open_or_fail(path, 0600);
    assert_int_equal(listener_publish(&listener), 0);
    folder_remove(inner);
    assert_int_equal(listener_check(&listener), LISTENER_GONE);
    int old = -1;
    struct error err = {0};
    assert_int_equal(listener_renew(&listener, &old, &err), LISTENER_RENEWED);
    close(old);
    assert_int_equal(listener_check(&listener), LISTENER_OURS);
    assert_true(is_served(&listener, path));
    struct listener second = LISTENER_NONE;
    assert_int_equal(listener_open(&second, &LISTENER_WISH(path, 0600), &err), EXIT_RUNNING); /* and locked again */
    listener_close(&listener);
    assert_int_equal(folder_count(inner), 0);
}

static void a_renewal_that_fails_changes_nothing(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    struct listener listener = open_or_fail(path, 0600);
    assert_int_equal(listener_publish(&listener), 0);
    assert_int_equal(unlink(path), 0);
    file_write(path, "precious\n");
    assert_int_equal(listener_check(&listener), LISTENER_TAKEN);
    struct listener before = listener;
    int old = -7;
    struct error err = {0};
    size_t count = descriptors_count();
    assert_int_equal(listener_renew(&listener, &old, &err), LISTENER_LOST);
    assert_int_equal(descriptors_count(), count);
    assert_int_equal(old, -7);
    assert_memory_equal(&listener, &before, sizeof listener);
    assert_true(file_is(path, "precious\n"));
    assert_int_equal(unlink(path), 0);
    struct listener second = LISTENER_NONE;
    assert_int_equal(listener_open(&second, &LISTENER_WISH(path, 0600), &err),
                     EXIT_RUNNING); /* the lock is still ours */
    assert_int_equal(listener_renew(&listener, &old, &err), LISTENER_RENEWED);
    close(old);
    assert_true(is_served(&listener, path));
    listener_close(&listener);
    assert_int_equal(folder_count(own_folder), 0);
}

static void a_lock_that_somebody_else_holds_by_now_ends_it(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    char lock[PATH_SIZE];
    path_in(path, "app.sock");
    path_in(lock, "app.sock.lock");
    struct listener first = open_or_fail(path, 0600);
    assert_int_equal(listener_publish(&first), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(lock), 0);
    struct listener second = open_or_fail(path, 0600);
    assert_int_equal(listener_publish(&second), 0);
    assert_int_equal(listener_check(&first), LISTENER_TAKEN);
    int old = -1;
    struct error err = {0};
    assert_int_equal(listener_renew(&first, &old, &err), LISTENER_LOST);
    listener_close(&first);
    assert_int_equal(listener_check(&second), LISTENER_OURS); /* the loser removed nothing of the winner's */
    assert_true(is_served(&second, path));
    struct listener third = LISTENER_NONE;
    assert_int_equal(listener_open(&third, &LISTENER_WISH(path, 0600), &err), EXIT_RUNNING);
    listener_close(&second);
    assert_int_equal(folder_count(own_folder), 0);
}

static void a_file_that_took_its_place_stays_at_the_end(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    for (int kind = 0; kind < 2; kind++) {
        struct listener listener = open_or_fail(path, 0600);
        assert_int_equal(listener_publish(&listener), 0);
        assert_int_equal(unlink(path), 0);
        int other = -1;
        if (kind == 0) {
            file_write(path, "precious\n");
        } else {
            other = make_socket(path, true);
        }
        ino_t inode = inode_of(path);
        assert_int_equal(listener_check(&listener), LISTENER_TAKEN);
        listener_close(&listener);
        assert_int_equal(inode_of(path), inode);
        assert_int_equal(folder_count(own_folder), 1);
        assert_int_equal(unlink(path), 0);
        if (other >= 0) {
            close(other);
        }
    }
}

static void hiding_leaves_queued_clients_their_connection(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    struct listener listener = open_or_fail(path, 0600);
    assert_int_equal(listener_publish(&listener), 0);
    int client = connect_to(path);
    assert_true(client >= 0);
    listener_hide(&listener);
    assert_int_equal(connect_to(path), -ENOENT);
    int accepted = listener_accept(&listener);
    assert_true(accepted >= 0);
    assert_int_equal(write(accepted, "x", 1), 1);
    char byte;
    assert_int_equal(read(client, &byte, 1), 1);
    close(accepted);
    close(client);
    listener_close(&listener);
    assert_int_equal(folder_count(own_folder), 0);
}

static void a_child_that_forgets_touches_no_file(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    struct listener listener = open_or_fail(path, 0600);
    assert_int_equal(listener_publish(&listener), 0);
    pid_t child = fork();
    if (child == 0) {
        listener_forget(&listener);
        int kept = listener.fd >= 0 && listener.lock < 0 && listener.folder < 0;
        close(listener.fd);
        _exit(kept ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(listener_check(&listener), LISTENER_OURS);
    assert_true(is_served(&listener, path));
    struct listener second = LISTENER_NONE;
    struct error err = {0};
    assert_int_equal(listener_open(&second, &LISTENER_WISH(path, 0600), &err), EXIT_RUNNING);
    listener_close(&listener);
    assert_int_equal(folder_count(own_folder), 0);
}

static void the_path_never_refuses_while_starts_follow_each_other(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    path_in(path, "app.sock");
    for (int i = 0; i < 200; i++) {
        struct listener listener = open_or_fail(path, 0600);
        assert_int_equal(connect_to(path), -ENOENT);
        assert_int_equal(listener_publish(&listener), 0);
        int client = connect_to(path);
        assert_true(client >= 0);
        close(client);
        listener_hide(&listener);
        assert_int_equal(connect_to(path), -ENOENT);
        listener_close(&listener);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(nothing_stands_at_the_path_before_it_is_published),
        FOLDER_TEST(a_start_that_is_given_up_leaves_nothing),
        FOLDER_TEST(the_socket_is_nonblocking_and_closed_on_exec),
        FOLDER_TEST(what_others_made_of_the_socket_is_mended),
        FOLDER_TEST(accepted_connections_are_nonblocking_and_closed_on_exec),
        FOLDER_TEST(two_hundred_clients_may_queue),
        FOLDER_TEST(the_mode_is_exactly_what_was_asked_for),
        FOLDER_TEST(the_mode_is_never_wider_not_even_for_a_moment),
        FOLDER_TEST(working_directory_and_umask_are_as_before),
        FOLDER_TEST(a_stale_socket_is_replaced),
        FOLDER_TEST(what_a_killed_start_left_is_replaced),
        FOLDER_TEST(a_second_start_is_refused_and_touches_nothing),
        FOLDER_TEST(a_server_of_another_kind_is_left_alone),
        FOLDER_TEST(a_socket_is_replaced_whose_maker_was_killed_though_it_is_held_open),
        FOLDER_TEST(a_lock_that_others_could_write_to_says_nothing_of_a_socket),
        FOLDER_TEST(a_file_with_the_name_of_the_lock_keeps_its_content),
        FOLDER_TEST(what_is_no_socket_is_refused_and_left_alone),
        FOLDER_TEST(what_appears_before_the_socket_is_published_is_left_alone),
        FOLDER_TEST(a_lock_that_is_a_link_is_not_followed),
        FOLDER_TEST(a_temporary_name_that_is_taken_is_refused),
        FOLDER_TEST(of_many_starts_at_once_exactly_one_serves),
        FOLDER_TEST(a_path_of_107_bytes_works_and_of_108_is_refused),
        FOLDER_TEST(missing_folders_are_made),
        FOLDER_TEST(a_relative_path_is_one_in_the_working_directory),
        FOLDER_TEST(paths_that_cannot_be_are_refused_by_name),
        FOLDER_TEST(a_removed_file_is_noticed_and_renewed),
        FOLDER_TEST(a_removed_folder_is_made_again),
        FOLDER_TEST(a_socket_of_ours_that_comes_back_is_replaced_and_no_other_is),
        FOLDER_TEST(a_folder_that_may_not_be_searched_is_no_removed_file),
        FOLDER_TEST(a_renewal_that_fails_changes_nothing),
        FOLDER_TEST(a_lock_that_somebody_else_holds_by_now_ends_it),
        FOLDER_TEST(a_file_that_took_its_place_stays_at_the_end),
        FOLDER_TEST(hiding_leaves_queued_clients_their_connection),
        FOLDER_TEST(a_child_that_forgets_touches_no_file),
        FOLDER_TEST(the_path_never_refuses_while_starts_follow_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
