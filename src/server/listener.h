/*
 * The socket file: who owns it, when it appears, and what stands there now (docs/reliability.md).
 *
 * A lock on PATH.lock decides ownership. Its file says which socket file its holder made: who finds that file at the
 * path and gets the lock knows that the holder is dead, whoever else still has its listening socket open.
 *
 * The socket is bound to a temporary name, with its mode set before, and renamed onto PATH only when a worker is ready:
 * the path never exists while nobody accepts, and never with a wider mode. What is not a socket is never replaced, and
 * what is not ours is never removed.
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
    bool is_public;                         /* the socket stands at its path */
    struct file_identity identity;          /* of our socket's file */
    struct file_identity former;            /* of the one before the last renewal; zeroed: there was none */
    char path[SOCKET_PATH_MAX + 1];
    char name[SOCKET_PATH_MAX + 1]; /* last part of the path */
};

enum listener_place {
    LISTENER_OURS,
    LISTENER_GONE,  /* nothing stands at the path, or a socket of ours that was renewed since and is back (unmounted) */
    LISTENER_TAKEN, /* something else does */
    LISTENER_UNKNOWN, /* it cannot be looked at now: no right to a folder on the way, no memory */
};

enum listener_renewal {
    LISTENER_RENEWED,
    LISTENER_SHORT, /* of descriptors, memory, space or rights: it may be possible a little later */
    LISTENER_LOST,  /* something else stands there, or another runtime has the lock */
};

/* A listener that holds nothing: listener_close on it does nothing. */
#define LISTENER_NONE ((struct listener){.fd = -1, .folder = -1, .lock = -1})

/* Makes missing folders, takes the lock and binds under the temporary name, listening; warns of a folder in which
 * others could take its place (server/folder.h). Single-threaded callers only: it changes umask and working directory
 * for a moment. Returns EXIT_OK, or the exit code the process should end with and `err`. */
int listener_open(struct listener *ret_listener, const char *path, int mode, struct error *err);

/* Renames the socket onto its path. Returns 0 or -errno. */
int listener_publish(struct listener *listener);

/* The listening socket is shared with the workers, and so with the function, which may change it for all. Makes it
 * again what it was: non-blocking, with a time for accept() and with its backlog. False if it was shut down: nobody can
 * connect any more, and it can only be renewed. */
bool listener_mend(const struct listener *listener);

/* The next queued connection of a peer that is allowed, non-blocking and CLOEXEC, which the caller owns; -errno
 * (-EAGAIN) if there is none. Never waits, whatever the function has made of the socket before the call. */
int listener_accept(const struct listener *listener);

/* Somebody is queued. */
bool listener_is_waiting(const struct listener *listener);

/* What stands at the path now. */
enum listener_place listener_check(const struct listener *listener);

/* The socket's file, or its whole folder, was removed, or the socket was shut down: makes and publishes a new one under
 * the same lock. On success `listener` holds the new socket and `*ret_old` the old one, which may still have clients
 * queued and is the caller's to close; on failure, which `err` tells, nothing changes. Single-threaded callers. */
enum listener_renewal listener_renew(struct listener *listener, int *ret_old, struct error *err);

/* Removes the socket's file if it is still ours; connections that are queued stay. */
void listener_hide(struct listener *listener);

/* listener_hide, then gives up the lock (removing its file) and closes everything. */
void listener_close(struct listener *listener);

/* Closes the descriptors without touching any file: for the child after a fork, which keeps `fd` alone. */
void listener_forget(struct listener *listener);

#endif
