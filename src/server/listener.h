/*
 * The socket's file: who owns it, when it appears, and what is at its path now (docs/reliability.md).
 *
 * Ownership is decided by a lock on PATH.lock. The lock's file also says which socket file its holder made. A runtime
 * that gets the lock and finds that socket file at the path knows that the former owner is dead, even if other
 * processes still have its listening socket open.
 *
 * The socket is bound to a temporary name, after its mode was set, and renamed to PATH only when a worker is ready. So
 * nothing is at the path while nobody accepts, and the file never has a wider mode. A file that is not a socket is
 * never replaced, and a file that is not ours is never removed.
 */
#ifndef ASYA_SERVER_LISTENER_H
#define ASYA_SERVER_LISTENER_H

#include "base/error.h"
#include "base/fd.h"
#include "base/options.h"

struct listener {
    int fd;                                 /* the listening socket: non-blocking, CLOEXEC */
    int folder;                             /* the folder the socket lives in */
    int lock;                               /* held while we own the path */
    int mode;                               /* permission bits or SOCKET_MODE_UMASK */
    const struct option_uids *allowed_uids; /* who may connect; NULL: everybody; borrowed */
    bool is_public;                         /* the socket's file is at its path */
    struct file_identity identity;          /* of our socket's file */
    struct file_identity former;            /* of the file before the last renewal; zeroed: there was none */
    char path[SOCKET_PATH_MAX + 1];
    char name[SOCKET_PATH_MAX + 1]; /* the last part of the path */
};

enum listener_place {
    LISTENER_OURS,
    LISTENER_GONE, /* nothing is at the path; or an earlier socket of ours, replaced since, is there again (an unmounted
                      volume) */
    LISTENER_TAKEN,   /* something else is at the path */
    LISTENER_UNKNOWN, /* cannot tell now: no right to a folder on the way, or no memory */
};

enum listener_renewal {
    LISTENER_RENEWED,
    LISTENER_SHORT, /* no descriptors, memory, space or rights: may work a little later */
    LISTENER_LOST,  /* something else is at the path, or another runtime has the lock */
};

/* A listener that holds nothing: listener_close() does nothing with it. */
#define LISTENER_NONE ((struct listener){.fd = -1, .folder = -1, .lock = -1})

/* A socket to be made. */
struct listener_wish {
    const char *variable; /* the setting that names the path, for the texts of errors */
    const char *path;
    int mode;       /* permission bits or SOCKET_MODE_UMASK */
    bool is_beside; /* another one is in the same folder, and has warned of what is wrong with that */
};

/* The runtime's own socket. */
#define LISTENER_WISH(at, bits) ((struct listener_wish){.variable = "ASYA_SOCKET_PATH", .path = (at), .mode = (bits)})

/* Makes missing folders, takes the lock, binds to the temporary name and listens; warns if others could replace the
 * socket in its folder (server/folder.h). Only for a process with one thread: changes the umask and the working
 * directory for a moment. Returns EXIT_OK, or with `err` the exit code that the process should end with. */
int listener_open(struct listener *ret_listener, const struct listener_wish *wish, struct error *err);

/* Renames the socket's file to its path. Returns 0 or -errno. */
int listener_publish(struct listener *listener);

/* The function shares the listening socket, and may change it for all. Undoes such changes: makes it non-blocking
 * again, with a time limit for accept() and with its backlog. False if it was shut down: then nobody can connect, and
 * it must be renewed. */
bool listener_mend(const struct listener *listener);

/* Returns the next connection of an allowed peer from the backlog, non-blocking and CLOEXEC, which the caller owns; or
 * -errno (-EAGAIN: there is none). Never waits, even if the function has made the socket blocking before the call. */
int listener_accept(const struct listener *listener);

/* A connection waits in the backlog. */
bool listener_is_waiting(const struct listener *listener);

/* What is at the path now. */
enum listener_place listener_check(const struct listener *listener);

/* To be called if the socket's file or its whole folder was removed, or the socket was shut down. Makes and publishes a
 * new one under the same lock. On success `listener` has the new socket and `*ret_old` the old one, which may still
 * have clients in its backlog and is the caller's to close. On failure nothing changes, and `err` has the reason. Only
 * for a process with one thread. */
enum listener_renewal listener_renew(struct listener *listener, int *ret_old, struct error *err);

/* Removes the socket's file if it is still ours. Connections in the backlog stay. */
void listener_hide(struct listener *listener);

/* As listener_hide(), then gives up the lock (and removes its file) and closes everything. */
void listener_close(struct listener *listener);

/* Closes descriptors without touching any file: for the child after a fork, which keeps only `fd`. */
void listener_forget(struct listener *listener);

#endif
