/* A system that gives an accepted connection no name, as gVisor does where the socket's folder is the host's. */
#define getsockname next_getsockname /* libc declares it with a transparent union, which a definition may not have */
#include <sys/socket.h>
#undef getsockname
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

int getsockname(int fd, struct sockaddr *address, socklen_t *size);

int getsockname(int fd, struct sockaddr *address, socklen_t *size)
{
    long status = syscall(SYS_getsockname, fd, address, size);
    int listening = 1;
    socklen_t length = sizeof listening;
    if (status == 0 && address->sa_family == AF_UNIX &&
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) == 0 && listening == 0) {
        *size = sizeof address->sa_family;
    }
    return (int)status;
}
