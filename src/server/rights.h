/*
 * Descriptors in a message (SCM_RIGHTS), which come from a client that nobody has asked for any, or from a function
 * that writes to the runtime's channels.
 *
 * Whoever takes or drops such a message closes them, and close() of a TCP socket that lingers sleeps for as long as its
 * owner likes; so does the end of a recv() without room for descriptors, and the close of a connection that holds
 * unread ones. One byte with a descriptor froze a worker or the supervisor that way. Therefore:
 *
 *   clients     may pass none: the kernel refuses them (SO_PASSRIGHTS, Linux 6.16). Before that, every read of a
 *               connection receives them with its bytes, and a connection is emptied before it is closed (hangup.h).
 *   strays      that were received all the same are closed by a process that ends, whose copies are the last ones: at
 *               the end of a process nothing lingers.
 */
#ifndef ASYA_SERVER_RIGHTS_H
#define ASYA_SERVER_RIGHTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

enum { RIGHTS_MAX = 253 }; /* in one message: the kernel's limit */

/* Room for all that may come: what had none would be closed on the way. */
union rights_space {
    char bytes[CMSG_SPACE(RIGHTS_MAX * sizeof(int))];
    struct cmsghdr align;
};

/* Before listen(): connections that are accepted from `listener` carry no descriptors, if the kernel can see to that.
 * If not, all reads look for them from now on, in this process and in those forked from it. */
void rights_refuse(int listener);

/* In a worker, right after its fork. */
void rights_in_worker(void);

/* Whether a client may pass descriptors. */
bool rights_may_come(void);

/* A connection that was accepted, before it is read: its urgent data, which would be dropped with all that is attached
 * to it, is to come in its turn. */
void rights_keep_in_line(int connection);

/* recvmsg() without waiting, for what a client sends: closes the descriptors that came with it. */
ssize_t rights_receive(int connection, struct iovec *parts, size_t count);

/* ---- messages between processes of ours ------------------------------------------------------------------------ */

enum { RIGHTS_SENT_MAX = 32 }; /* descriptors of ours in one message */

/* Sends `size` bytes and 0 to RIGHTS_SENT_MAX descriptors, which stay the caller's, without waiting. Returns 0 or
 * -errno. */
int rights_send(int socket, const void *bytes, size_t size, const int *fds, uint32_t count);

/* What has come with the bytes of a message. */
struct rights_message {
    uint32_t count;
    bool is_cut;         /* descriptors are missing: there was no number for them */
    bool is_short;       /* bytes are missing: there were more than fit */
    int fds[RIGHTS_MAX]; /* CLOEXEC; the receiver's, whatever they are */
};

/* Receives up to `size` bytes without waiting; `flags`: MSG_PEEK or 0. Returns how many, 0 at the end, or -errno with
 * nothing to own. */
ssize_t rights_receive_message(int socket, void *bytes, size_t size, int flags, struct rights_message *ret_message);

/* Closes descriptors of unknown origin, and sets them to -1. Never waits. Forks, which takes the longer the more memory
 * this process has. */
void rights_close(int *fds, uint32_t count);

#endif
