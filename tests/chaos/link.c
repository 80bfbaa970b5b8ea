#include "link.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un address = {.sun_family = AF_UNIX};

bool link_set_path(const char *path)
{
    if (strlen(path) >= sizeof address.sun_path) {
        return false;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    return true;
}

/* The backlog may be full: connecting waits as long as sending does. */
void link_dial(struct link *link)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        perror("asya-chaos: connect");
        exit(2);
    }
    link->fd = fd;
    link->state = LINK_OPEN;
    link->size = 0;
    link->bytes[0] = '\0';
}

void link_close(struct link *link)
{
    if (link->fd >= 0) {
        (void)close(link->fd);
    }
    link->fd = -1;
}

size_t link_send(struct link *link, const char *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t sent = send(link->fd, bytes + done, size - done, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0) { /* closed there: what is read next tells. Or nobody reads */
            link->state = errno == EAGAIN || errno == EWOULDBLOCK ? LINK_LATE : link->state;
            break;
        }
        done += (size_t)sent;
    }
    return done;
}

bool link_read(struct link *link)
{
    if (link->state != LINK_OPEN || link->size + 1 >= LINK_ROOM) {
        return false;
    }
    ssize_t got;
    do {
        got = recv(link->fd, link->bytes + link->size, LINK_ROOM - 1 - link->size, 0);
    } while (got < 0 && errno == EINTR);
    if (got <= 0) {
        bool late = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
        link->state = got == 0 ? LINK_ENDED : late ? LINK_LATE : LINK_RESET;
        return false;
    }
    link->size += (size_t)got;
    link->bytes[link->size] = '\0';
    return true;
}

void link_read_all(struct link *link)
{
    while (link_read(link)) {
    }
}

void link_listen(struct link *link, int ms)
{
    struct pollfd look = {.fd = link->fd, .events = POLLIN};
    if (link->state == LINK_OPEN && poll(&look, 1, ms) > 0) {
        (void)link_read(link);
    }
}

void link_take(struct link *link, size_t size)
{
    link->size -= size;
    memmove(link->bytes, link->bytes + size, link->size + 1);
}

const char *link_reason(const struct link *link)
{
    static const char *const reasons[] = {"open", "end", "reset", "late"};
    return reasons[link->state];
}
