/*
 * The steps in which the socket's file comes and goes. PATH.lock and the temporary socket PATH.new are beside PATH.
 *
 *   open     open the folder, lock PATH.lock, check that PATH is free or abandoned, make the socket with its mode, bind
 *            it to PATH.new, listen, write into PATH.lock which socket file is ours
 *   publish  rename PATH.new to PATH: from now on clients can connect
 *   renew    open and publish again, with the lock that is held if its file is still there, after PATH was removed or
 *            the socket shut down
 *   close    remove PATH (or PATH.new) and PATH.lock if they are ours, then release the lock by closing it
 *
 * A process that is killed between two steps leaves nothing that hinders the next start: the kernel releases the lock,
 * PATH.lock tells that the socket at PATH is abandoned, and the holder of the lock may remove PATH.new.
 */
#include "server/listener.h"

#include "base/exits.h"
#include "base/log.h"
#include "server/folder.h"
#include "server/peer.h"
#include "server/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* The kernel caps it at net.core.somaxconn, so this asks for as much as that allows. */
enum { BACKLOG = 65535 };

enum {
    REFUSED_MAX = 256,      /* refused peers in one call, before it returns to its caller */
    ACCEPT_PATIENCE = 1000, /* microseconds in accept(), should the function have made it blocking */
};

static int listener_fail(struct error *err, int code, const char *what, const char *path)
{
    int reason = errno;
    error_set(err, ERR_SERVER, 0, "%s %s: %s", what, path, strerror(reason));
    errno = reason;
    return code;
}

/* ---- what the lock's file says ---------------------------------------------------------------------------------- */

#define RECORD_BEGIN "socket "
#define RECORD_PID   "pid "

enum { RECORD_SIZE = 96 }; /* of both lines together */

static size_t listener_record_of(const struct file_identity *socket, char text[RECORD_SIZE])
{
    return (size_t)snprintf(text, RECORD_SIZE, RECORD_BEGIN "%20llu %20llu %20llu\n",
                            (unsigned long long)socket->device, (unsigned long long)socket->inode,
                            (unsigned long long)socket->modified);
}

/* The pid of the lock's holder, as it wrote it, in its own pid namespace; 0: it wrote none. */
static unsigned listener_holder(int lock)
{
    char text[RECORD_SIZE + 1];
    unsigned pid = 0;
    ssize_t size = pread(lock, text, RECORD_SIZE, 0);
    text[size > 0 ? size : 0] = '\0';
    const char *at = strstr(text, "\n" RECORD_PID);
    for (at = at != NULL ? at + strlen("\n" RECORD_PID) : ""; *at == ' ' || (*at >= '0' && *at <= '9'); at++) {
        pid = *at == ' ' ? pid : pid * 10 + (unsigned)(*at - '0');
    }
    return pid;
}

static int listener_fail_running(const struct listener *listener, int lock, struct error *err)
{
    unsigned pid = listener_holder(lock);
    if (pid > 0) {
        error_set(err, ERR_SERVER, 0, "another runtime is already serving %s: pid %u", listener->path, pid);
    } else {
        error_set(err, ERR_SERVER, 0, "another runtime is already serving %s", listener->path);
    }
    return EXIT_RUNNING;
}

/* The lock's file could not be opened or made. */
static int listener_fail_lock(const struct listener *listener, const char *name, struct error *err)
{
    int reason = errno;
    struct file_identity found;
    bool is_absent = fd_stat_at(listener->folder, name, &found) == -ENOENT;
    if ((reason == EACCES || reason == EROFS) && is_absent) {
        int size = (int)(strlen(listener->path) - strlen(listener->name)); /* 0: a relative path without a folder */
        error_set(err, ERR_SERVER, 0, "cannot write in folder %.*s (uid %u): %s", size > 0 ? size : 1,
                  size > 0 ? listener->path : ".", (unsigned)geteuid(), strerror(reason));
        return EXIT_SOCKET;
    }
    errno = reason;
    return listener_fail(err, EXIT_SOCKET, "cannot open the lock file beside", listener->path);
}

static int listener_open_folder(struct listener *listener, const char *variable, struct folder_danger *ret_danger,
                                struct error *err)
{
    char folder[SOCKET_PATH_MAX + 1];
    memcpy(folder, listener->path, sizeof folder);
    char *slash = strrchr(folder, '/');
    const char *name = slash != NULL ? slash + 1 : folder;
    memcpy(listener->name, name, strlen(name) + 1);
    if (listener->name[0] == '\0' || strcmp(listener->name, ".") == 0 || strcmp(listener->name, "..") == 0) {
        error_set(err, ERR_SERVER, 0, "%s '%s' names a folder, not a socket", variable, listener->path);
        return EXIT_SOCKET;
    }
    if (slash == NULL) {
        memcpy(folder, ".", 2);
    } else if (slash == folder) {
        slash[1] = '\0';
    } else {
        *slash = '\0';
    }
    int opened = folder_open(folder, ret_danger, err);
    if (opened < 0) {
        errno = -opened;
        return EXIT_SOCKET;
    }
    listener->folder = opened;
    return EXIT_OK;
}

/* The name of the lock's file or the temporary socket, beside the socket. Cut if it would be too long for a file. */
static void listener_beside(char *target, size_t size, const struct listener *listener, const char *ending)
{
    (void)snprintf(target, size, "%.100s%s", listener->name, ending);
}

enum { BESIDE_SIZE = 108 };

/* Takes PATH.lock. A runtime that is ending may remove the file at this moment: then our lock is on a file that nobody
 * else will find, and we try again. */
static int listener_take_lock(struct listener *listener, struct error *err)
{
    char name[BESIDE_SIZE];
    listener_beside(name, sizeof name, listener, ".lock");
    for (int attempt = 0; attempt < 100; attempt++) {
        FD_SCOPED int lock = openat(listener->folder, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (lock < 0) {
            return listener_fail_lock(listener, name, err);
        }
        if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
            if (errno == EINTR) {
                continue;
            }
            if (errno == EWOULDBLOCK) {
                return listener_fail_running(listener, lock, err);
            }
            return listener_fail(err, EXIT_SOCKET, "cannot lock the lock file beside", listener->path);
        }
        struct file_identity held;
        struct file_identity found;
        if (fd_stat(lock, &held) == 0 && fd_stat_at(listener->folder, name, &found) == 0 &&
            file_identity_equal(&held, &found)) {
            listener->lock = fd_take(&lock);
            return EXIT_OK;
        }
    }
    error_set(err, ERR_SERVER, 0, "the lock file beside %s keeps changing", listener->path);
    return EXIT_RUNNING;
}

/* Writes into the lock's file which socket file is ours. If the disk is full, the next start after a kill must connect
 * to find out whether somebody listens; nothing else is lost. A file whose content is not that of a lock was put or
 * linked here by somebody else, and is not written to. */
static void listener_note_socket(const struct listener *listener)
{
    char text[RECORD_SIZE];
    ssize_t held = pread(listener->lock, text, sizeof text, 0);
    if (held != 0 && (held < (ssize_t)strlen(RECORD_BEGIN) || memcmp(text, RECORD_BEGIN, strlen(RECORD_BEGIN)) != 0)) {
        return;
    }
    size_t size = listener_record_of(&listener->identity, text);
    size += (size_t)snprintf(text + size, sizeof text - size, RECORD_PID "%10d\n", (int)getpid());
    if (pwrite(listener->lock, text, size, 0) != (ssize_t)size) {
        log_debug(EVENT_RUNTIME_DEGRADED, "cannot write to the lock file beside %s: %s", listener->path,
                  strerror(errno));
    }
}

/* To be called with the lock held. Whether the socket's file `found` was made by the former holder of the lock, which
 * is dead then. Children that its function has forked may still have the socket open, and the kernel queues clients
 * there whom nobody will answer. If others could write to the lock's file, it proves nothing. */
static bool listener_is_abandoned(const struct listener *listener, const struct file_identity *found)
{
    char expected[RECORD_SIZE];
    char text[RECORD_SIZE];
    struct file_identity lock;
    size_t size = listener_record_of(found, expected);
    return fd_stat(listener->lock, &lock) == 0 && lock.owner == geteuid() && (lock.mode & (S_IWGRP | S_IWOTH)) == 0 &&
           pread(listener->lock, text, sizeof text, 0) >= (ssize_t)size && memcmp(text, expected, size) == 0;
}

/* To be called with the lock held, so a socket at the path is either left from a dead runtime or belongs to another
 * kind of server. A socket left from a dead runtime is removed: clients would take this runtime for ready while it
 * still loads the function. If it cannot be removed, publishing replaces it. */
static int listener_clear_path(const struct listener *listener, struct error *err)
{
    struct file_identity found;
    int status = fd_stat_at(listener->folder, listener->name, &found);
    if (status == -ENOENT) {
        return EXIT_OK;
    }
    if (status < 0) {
        errno = -status;
        return listener_fail(err, EXIT_SOCKET, "cannot look at", listener->path);
    }
    if (!S_ISSOCK(found.mode)) {
        error_set(err, ERR_SERVER, 0, "%s exists and is not a socket; it was left alone", listener->path);
        return EXIT_SOCKET;
    }
    if (listener_is_abandoned(listener, &found)) {
        unlinkat(listener->folder, listener->name, 0);
        return EXIT_OK;
    }
    FD_SCOPED int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, listener->path, strlen(listener->path));
    if (probe >= 0 && (connect(probe, (const struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN)) {
        error_set(err, ERR_SERVER, 0, "another server is listening on %s", listener->path);
        return EXIT_RUNNING;
    }
    if (probe >= 0 && errno == ECONNREFUSED) {
        unlinkat(listener->folder, listener->name, 0);
    }
    return EXIT_OK;
}

/* Binds so that the file gets the socket's own mode: the umask would take bits away. */
static int listener_bind_with_mode(const struct listener *listener, int fd, const struct sockaddr_un *address)
{
    mode_t mask = 0;
    if (listener->mode != SOCKET_MODE_UMASK) {
        mask = umask(0);
    }
    int status = bind(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : -errno;
    if (listener->mode != SOCKET_MODE_UMASK) {
        umask(mask);
    }
    return status;
}

/* Binds `fd` to `name` beside the path. If that path is too long for a socket, binds to the name alone from within the
 * folder. That needs a working directory which this user may open, and the one of a container image may not be. */
static int listener_bind_beside(const struct listener *listener, int fd, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t folder = strlen(listener->path) - strlen(listener->name);
    size_t size = strlen(name);
    if (folder + size <= SOCKET_PATH_MAX) {
        memcpy(address.sun_path, listener->path, folder);
        memcpy(address.sun_path + folder, name, size);
        return listener_bind_with_mode(listener, fd, &address);
    }
    FD_SCOPED int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (here < 0 || fchdir(listener->folder) != 0) {
        return -errno;
    }
    memcpy(address.sun_path, name, size);
    int status = listener_bind_with_mode(listener, fd, &address);
    if (fchdir(here) != 0 && status == 0) {
        status = -errno;
    }
    return status;
}

/* Limits the time of accept(): the function may make the socket blocking for all processes that share it. */
static int listener_limit_patience(int fd)
{
    struct timeval patience = {.tv_usec = ACCEPT_PATIENCE};
    return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 ? 0 : -errno;
}

bool listener_mend(const struct listener *listener)
{
    (void)fd_set_nonblocking(listener->fd);
    (void)listener_limit_patience(listener->fd);
    (void)listen(listener->fd, BACKLOG);
    struct pollfd look = {.fd = listener->fd, .events = POLLRDHUP};
    return poll(&look, 1, 0) == 0;
}

static int listener_open_socket(struct listener *listener, struct error *err)
{
    FD_SCOPED int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return listener_fail(err, EXIT_SOCKET, "cannot make a socket for", listener->path);
    }
    int limited = listener_limit_patience(fd);
    if (limited < 0) {
        errno = -limited;
        return listener_fail(err, EXIT_SOCKET, "cannot limit the time of accepting from", listener->path);
    }
    rights_refuse(fd);
    /* bind() gives the file this mode less the umask, so it never has another one */
    if (listener->mode != SOCKET_MODE_UMASK && fchmod(fd, (mode_t)listener->mode) != 0) {
        return listener_fail(err, EXIT_SOCKET, "cannot set the mode of", listener->path);
    }
    char name[BESIDE_SIZE];
    listener_beside(name, sizeof name, listener, ".new");
    struct file_identity stale;
    if (fd_stat_at(listener->folder, name, &stale) == 0 && S_ISSOCK(stale.mode)) {
        unlinkat(listener->folder, name, 0); /* left by a start that was killed: the lock is ours now */
    }
    int status = listener_bind_beside(listener, fd, name);
    if (status == 0) {
        status = listen(fd, BACKLOG) != 0 ? -errno : fd_stat_at(listener->folder, name, &listener->identity);
        if (status < 0) {
            unlinkat(listener->folder, name, 0);
        }
    }
    if (status < 0) {
        errno = -status;
        return listener_fail(err, EXIT_SOCKET, "cannot bind", listener->path);
    }
    listener->fd = fd_take(&fd);
    listener_note_socket(listener);
    /* A filter (seccomp) may refuse to accept, and clients would wait for ever. Of no socket the kernel says EBADF. */
    if (accept4(-1, NULL, NULL, SOCK_CLOEXEC) < 0 && (errno == ENOSYS || errno == EPERM)) {
        return listener_fail(err, EXIT_SOCKET, "no accept4 on", listener->path);
    }
    return EXIT_OK;
}

int listener_open(struct listener *ret_listener, const struct listener_wish *wish, struct error *err)
{
    struct listener listener = LISTENER_NONE;
    listener.mode = wish->mode;
    size_t size = strlen(wish->path);
    if (size > SOCKET_PATH_MAX) {
        error_set(err, ERR_SERVER, 0, "%s is %zu bytes long, a Unix socket's path has at most %d: %s", wish->variable,
                  size, SOCKET_PATH_MAX, wish->path);
        return EXIT_SOCKET;
    }
    memcpy(listener.path, wish->path, size + 1);
    struct folder_danger danger;
    int code = listener_open_folder(&listener, wish->variable, &danger, err);
    if (code == EXIT_OK) {
        code = listener_take_lock(&listener, err);
    }
    if (code == EXIT_OK) {
        code = listener_clear_path(&listener, err);
    }
    if (code == EXIT_OK) {
        code = listener_open_socket(&listener, err);
    }
    if (code != EXIT_OK) {
        int reason = errno;
        listener_close(&listener);
        errno = reason;
        return code;
    }
    if (!wish->is_beside) {
        folder_warn(&danger);
    }
    *ret_listener = listener;
    return EXIT_OK;
}

int listener_publish(struct listener *listener)
{
    char name[BESIDE_SIZE];
    listener_beside(name, sizeof name, listener, ".new");
    struct file_identity found;
    if (fd_stat_at(listener->folder, listener->name, &found) == 0 && !S_ISSOCK(found.mode)) {
        return -EEXIST; /* it appeared after the check at the start */
    }
    if (renameat(listener->folder, name, listener->folder, listener->name) != 0) {
        return -errno;
    }
    listener->is_public = true;
    return 0;
}

int listener_accept(const struct listener *listener)
{
    (void)fd_set_nonblocking(listener->fd);
    (void)listener_limit_patience(listener->fd);
    for (int refused = 0; refused < REFUSED_MAX;) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno != EINTR && errno != ECONNABORTED) {
                return -errno;
            }
        } else if (peer_admit(&fd, listener->allowed_uids)) {
            rights_keep_in_line(fd);
            int status = fd_raise(&fd);
            if (status < 0) {
                fd_close(&fd);
            }
            return status < 0 ? status : fd;
        } else {
            refused++;
        }
    }
    return -EAGAIN; /* so that refused clients, who may connect again at once, do not keep the caller here for ever */
}

bool listener_is_waiting(const struct listener *listener)
{
    struct pollfd look = {.fd = listener->fd, .events = POLLIN};
    return poll(&look, 1, 0) == 1 && (look.revents & POLLIN) != 0;
}

enum listener_place listener_check(const struct listener *listener)
{
    /* By path, and not in the folder that is open: that may have been removed and made again. */
    struct file_identity found;
    int status = fd_stat_at(AT_FDCWD, listener->path, &found);
    if (status == -ENOENT || status == -ENOTDIR || status == -ELOOP) {
        return LISTENER_GONE;
    }
    if (status < 0) {
        return LISTENER_UNKNOWN;
    }
    if (file_identity_equal(&found, &listener->identity)) {
        return LISTENER_OURS;
    }
    const struct file_identity *former = &listener->former; /* another file may have its number by now */
    bool back = file_identity_equal(&found, former) && found.modified == former->modified;
    return back ? LISTENER_GONE : LISTENER_TAKEN;
}

/* Whether the lock that we hold is still on the file beside the path; if so, moves it to `fresh`. */
static bool listener_keep_lock(struct listener *fresh, struct listener *listener)
{
    char name[BESIDE_SIZE];
    listener_beside(name, sizeof name, fresh, ".lock");
    struct file_identity held;
    struct file_identity found;
    if (fd_stat(listener->lock, &held) != 0 || fd_stat_at(fresh->folder, name, &found) != 0 ||
        !file_identity_equal(&held, &found)) {
        return false;
    }
    fresh->lock = fd_take(&listener->lock);
    return true;
}

/* Whether the error may go away by itself: room may be made, or a right given back. */
static bool listener_may_pass(int error)
{
    switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case ENOSPC:
    case EDQUOT:
    case EACCES:
    case EPERM:
    case EROFS:
    case EIO:
        return true;
    default:
        return false;
    }
}

enum listener_renewal listener_renew(struct listener *listener, int *ret_old, struct error *err)
{
    struct listener fresh = LISTENER_NONE;
    fresh.mode = listener->mode;
    fresh.allowed_uids = listener->allowed_uids;
    fresh.former = listener->identity;
    memcpy(fresh.path, listener->path, sizeof fresh.path);
    struct folder_danger danger;
    int code = listener_open_folder(&fresh, "the socket's path", &danger, err);
    bool kept = code == EXIT_OK && listener_keep_lock(&fresh, listener);
    if (code == EXIT_OK && !kept) {
        code = listener_take_lock(&fresh, err);
    }
    if (code == EXIT_OK) {
        code = listener_open_socket(&fresh, err);
    }
    if (code == EXIT_OK) {
        int status = listener_publish(&fresh);
        if (status < 0) {
            errno = -status;
            code = listener_fail(err, EXIT_SOCKET, "cannot publish", fresh.path);
        }
    }
    if (code != EXIT_OK) {
        bool passing = code == EXIT_SOCKET && listener_may_pass(errno);
        if (kept) {
            listener->lock = fd_take(&fresh.lock);
        }
        listener_close(&fresh);
        return passing ? LISTENER_SHORT : LISTENER_LOST;
    }
    *ret_old = fd_take(&listener->fd);
    listener_forget(listener);
    *listener = fresh;
    return LISTENER_RENEWED;
}

static void listener_remove_if_ours(const struct listener *listener, const char *name, const struct file_identity *ours)
{
    struct file_identity found;
    if (fd_stat_at(listener->folder, name, &found) == 0 && file_identity_equal(&found, ours)) {
        unlinkat(listener->folder, name, 0);
    }
}

void listener_hide(struct listener *listener)
{
    if (listener->fd < 0) {
        return;
    }
    char name[BESIDE_SIZE];
    listener_beside(name, sizeof name, listener, ".new");
    listener_remove_if_ours(listener, listener->is_public ? listener->name : name, &listener->identity);
    listener->is_public = false;
}

void listener_close(struct listener *listener)
{
    listener_hide(listener);
    if (listener->lock >= 0) {
        char name[BESIDE_SIZE];
        listener_beside(name, sizeof name, listener, ".lock");
        struct file_identity ours;
        if (fd_stat(listener->lock, &ours) == 0) {
            listener_remove_if_ours(listener, name, &ours);
        }
    }
    listener_forget(listener);
    fd_close(&listener->fd);
}

void listener_forget(struct listener *listener)
{
    fd_close(&listener->lock);
    fd_close(&listener->folder);
}
