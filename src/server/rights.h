/*
 * Descriptors that arrive with a message (SCM_RIGHTS). A client may attach some although nobody asked for them, and so
 * may a function that writes to the runtime's channels.
 *
 * Closing them is dangerous: close() of a TCP socket with SO_LINGER sleeps for as long as its owner has chosen. The
 * same happens in a recv() without room for descriptors, and when a connection with unread descriptors is closed. In
 * this way one byte with a descriptor could freeze a worker or the supervisor. Therefore:
 *
 *   clients     cannot pass descriptors: the kernel refuses them (SO_PASSRIGHTS, Linux 6.16). On older kernels every
 *               read of a connection receives them, and a connection is emptied before it is closed (hangup.h)
 *   strays      are unwanted descriptors that were received. We fork a child, which has copies of them, close ours, and
 *               let the child exit: so the last copies are closed by the exit of a process, which does not linger
 */
#ifndef ASYA_SERVER_RIGHTS_H
#define ASYA_SERVER_RIGHTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

enum { RIGHTS_MAX = 253 }; /* in one message: the kernel's limit */

/* Room for all descriptors that one message can have: the kernel would close those without room, and linger. Before
 * them may come what the function has turned on for a socket of ours: the sender's ids or label (SO_PASSCRED). */
union rights_space {
    char bytes[512 + CMSG_SPACE(RIGHTS_MAX * sizeof(int))];
    struct cmsghdr align;
};

/* To be called before listen(). From now on the kernel lets no client of `listener` pass descriptors, if it can do
 * that. If not, all reads look for descriptors, in this process and in those forked from it. */
void rights_refuse(int listener);

/* To be called in a worker, right after its fork. */
void rights_in_worker(void);

/* Whether clients can pass descriptors. */
bool rights_may_come(void);

/* To be called for an accepted connection before it is read. Puts urgent data in line with the rest: otherwise it would
 * be dropped with the descriptors attached to it. */
void rights_keep_in_line(int connection);

/* As recvmsg() without waiting, for what a client sends. Closes descriptors that come with it. */
ssize_t rights_receive(int connection, struct iovec *parts, size_t count);

/* ---- messages between processes of ours ------------------------------------------------------------------------ */

enum { RIGHTS_SENT_MAX = 32 }; /* descriptors that we put into one message */

/* Sends `size` bytes with at most RIGHTS_SENT_MAX descriptors, which stay the caller's. Does not wait. Returns 0 or
 * -errno. */
int rights_send(int socket, const void *bytes, size_t size, const int *fds, uint32_t count);

/* What came with the bytes of a message. */
struct rights_message {
    uint32_t count;
    bool is_cut;         /* descriptors are missing, because this process had no number free */
    bool is_short;       /* bytes are missing, because there were more than `size` */
    int fds[RIGHTS_MAX]; /* CLOEXEC; the receiver owns them, whatever they are */
};

/* Receives up to `size` bytes without waiting. `flags`: MSG_PEEK or 0. Returns the number of bytes, 0 at the end, or
 * -errno (then `ret_message` holds nothing). */
ssize_t rights_receive_message(int socket, void *bytes, size_t size, int flags, struct rights_message *ret_message);

/* Closes descriptors of unknown origin, and sets them to -1. Never waits. It forks, which takes longer the more memory
 * this process has. */
void rights_close(int *fds, uint32_t count);

#endif
