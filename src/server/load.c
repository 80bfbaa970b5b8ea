#include "server/load.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { LOAD_CHUNK = 1 << 16 };

#define LOAD_TICK  (20 * CLOCK_MS)
#define LOAD_PAUSE CLOCK_MS /* before a connection is tried again: nobody listens, or the backlog is full */

struct load_client {
    uint64_t due;   /* when its request was, or is, to begin; CLOCK_NEVER: it has ended */
    uint64_t begun; /* 0: no request runs */
    uint64_t not_before;
    size_t sent;
    size_t got;
    size_t whole; /* bytes of the reply; 0: not known */
    char head[LOAD_HEAD_SIZE];
};

struct load {
    const struct load_plan *plan;
    struct load_tally *tally;
    struct sockaddr_un address;
    uint64_t began;
    uint64_t due; /* of the next request of the open loop */
    uint64_t left;
    uint32_t active;
    bool is_over;
    struct pollfd *polled; /* of each client: its connection, or -1 */
    char chunk[LOAD_CHUNK];
    struct load_client clients[];
};

static void load_note(struct load_tally *tally, uint64_t latency)
{
    tally->buckets[octave_bucket(latency, LOAD_BUCKET_BITS)]++;
    tally->sum += latency;
    tally->most = latency > tally->most ? latency : tally->most;
}

/* The client's next request, or none. */
static void load_plan_next(struct load *load, struct load_client *client, uint64_t now)
{
    client->begun = 0;
    client->due = load->plan->interval > 0 ? load->due : now;
    if (load->is_over || load->left == 0 || client->due - load->began >= load->plan->span) {
        client->due = CLOCK_NEVER;
        load->active--;
        return;
    }
    load->left--;
    load->due += load->plan->interval;
}

static void load_end(struct load *load, uint32_t index, enum load_outcome outcome)
{
    struct load_client *client = &load->clients[index];
    uint64_t now = clock_now();
    load->tally->outcomes[outcome]++;
    load->tally->elapsed = now - load->began;
    if (outcome == LOAD_OK) {
        load_note(load->tally, now - client->due);
    } else if (outcome == LOAD_BAD && load->tally->bad[0] == '\0') {
        size_t size = client->got < LOAD_HEAD_SIZE ? client->got : LOAD_HEAD_SIZE;
        memcpy(load->tally->bad, client->head, size);
    }
    if (outcome == LOAD_LOST || outcome == LOAD_LATE || !load->plan->keeps) {
        fd_close(&load->polled[index].fd);
    }
    client->not_before = outcome == LOAD_LOST ? now + LOAD_PAUSE : 0;
    load_plan_next(load, client, now);
    if (load->active == 0 || client->due == CLOCK_NEVER) {
        fd_close(&load->polled[index].fd);
    }
}

/* ---- one request ------------------------------------------------------------------------------------------------ */

static void load_send(struct load *load, uint32_t index)
{
    struct load_client *client = &load->clients[index];
    struct pollfd *polled = &load->polled[index];
    struct view request = load->plan->request;
    while (client->sent < request.size) {
        ssize_t sent = send(polled->fd, request.data + client->sent, request.size - client->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            if (errno == EAGAIN) {
                return;
            }
            break; /* the reply, if there is one, says why */
        }
        client->sent += sent > 0 ? (size_t)sent : 0;
    }
    if (load->plan->half_close) {
        (void)shutdown(polled->fd, SHUT_WR);
    }
    polled->events = POLLIN | POLLRDHUP;
}

static void load_begin(struct load *load, uint32_t index, uint64_t now)
{
    struct load_client *client = &load->clients[index];
    struct pollfd *polled = &load->polled[index];
    if (polled->fd < 0) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || connect(fd, (const struct sockaddr *)&load->address, sizeof load->address) != 0) {
            bool is_full = fd >= 0 && errno == EAGAIN;
            fd_close(&fd);
            client->not_before = now + LOAD_PAUSE;
            if (!is_full || now - client->due >= load->plan->timeout) {
                load_end(load, index, LOAD_LOST);
            }
            return;
        }
        polled->fd = fd;
    }
    client->begun = now;
    client->sent = client->got = client->whole = 0;
    polled->events = POLLIN | POLLOUT;
    load_send(load, index);
}

/* How long the reply is, as soon as its head is there. */
static void load_measure(struct load_client *client)
{
    static const char field[] = "\r\nContent-Length: ";
    size_t known = client->got < LOAD_HEAD_SIZE ? client->got : LOAD_HEAD_SIZE;
    const char *end = memmem(client->head, known, "\r\n\r\n", 4);
    const char *at = end != NULL ? memmem(client->head, known, field, sizeof field - 1) : NULL;
    if (at == NULL) {
        return;
    }
    size_t length = 0;
    for (at += sizeof field - 1; *at >= '0' && *at <= '9'; at++) {
        length = length * 10 + (size_t)(*at - '0');
    }
    client->whole = (size_t)(end + 4 - client->head) + length;
}

static enum load_outcome load_judge(const struct load_plan *plan, const struct load_client *client)
{
    if (client->got == 0 || client->got < client->whole) {
        return LOAD_LOST;
    }
    size_t end = plan->prefix_at + plan->prefix.size;
    bool begins = client->got >= end && end <= LOAD_HEAD_SIZE &&
                  memcmp(client->head + plan->prefix_at, plan->prefix.data, plan->prefix.size) == 0;
    return begins == plan->prefix_is_bad ? LOAD_BAD : LOAD_OK;
}

static void load_receive(struct load *load, uint32_t index)
{
    struct load_client *client = &load->clients[index];
    bool is_closed = (load->polled[index].revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0;
    for (;;) {
        ssize_t got = recv(load->polled[index].fd, load->chunk, LOAD_CHUNK, 0);
        if (got < 0 && errno == EAGAIN) {
            return;
        }
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            enum load_outcome outcome = load_judge(load->plan, client);
            load_end(load, index, load->plan->keeps ? LOAD_LOST : outcome);
            return;
        }
        if (client->got < LOAD_HEAD_SIZE) {
            size_t room = LOAD_HEAD_SIZE - client->got;
            memcpy(client->head + client->got, load->chunk, (size_t)got < room ? (size_t)got : room);
        }
        client->got += (size_t)got;
        if (load->plan->keeps && client->whole == 0) {
            load_measure(client);
        }
        /* the end was seen and this was a short read: nothing more can come, and a read is saved */
        bool is_all = is_closed && got < LOAD_CHUNK && !load->plan->keeps;
        if (is_all || (client->whole > 0 && client->got >= client->whole)) {
            load_end(load, index, load_judge(load->plan, client));
            return;
        }
    }
}

/* ---- the loop --------------------------------------------------------------------------------------------------- */

/* Begins what is due and gives up what takes too long; returns when to come again. */
static uint64_t load_tend(struct load *load, uint64_t now)
{
    uint64_t wake = now + LOAD_TICK;
    for (uint32_t i = 0; i < load->plan->clients; i++) {
        struct load_client *client = &load->clients[i];
        if (client->due == CLOCK_NEVER) {
            continue;
        }
        if (client->begun != 0) {
            if (now >= client->begun && now - client->begun >= load->plan->timeout) {
                load_end(load, i, LOAD_LATE);
            }
            continue;
        }
        if (load->is_over) {
            client->due = CLOCK_NEVER;
            load->active--;
        } else if (client->due <= now && client->not_before <= now) {
            load_begin(load, i, now);
        }
        if (client->begun == 0 && client->due != CLOCK_NEVER) {
            wake = clock_earlier(wake, client->due > client->not_before ? client->due : client->not_before);
        }
    }
    return wake;
}

static void load_wait(struct load *load, uint64_t wake)
{
    uint64_t now = clock_now();
    uint64_t span = wake > now ? wake - now : 0;
    struct timespec time = {.tv_nsec = (long)(span < CLOCK_SECOND ? span : CLOCK_SECOND - 1)};
    long ready = syscall(SYS_ppoll, load->polled, (unsigned long)load->plan->clients, &time, NULL, (size_t)8);
    for (uint32_t i = 0; ready > 0 && i < load->plan->clients; i++) {
        short events = load->polled[i].revents;
        ready -= events != 0;
        if ((load->polled[i].events & events & POLLOUT) != 0) {
            load_send(load, i);
        }
        if ((events & ~POLLOUT) != 0) {
            load_receive(load, i);
        }
    }
}

static uint64_t load_processor_time(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * CLOCK_SECOND + (uint64_t)time.tv_nsec;
}

int load_run(const struct load_plan *plan, struct load_tally *tally)
{
    struct load *load = calloc(1, sizeof *load + plan->clients * sizeof load->clients[0]);
    struct pollfd *polled = calloc(plan->clients, sizeof *polled);
    if (load == NULL || polled == NULL || strlen(plan->path) >= sizeof load->address.sun_path) {
        free(load);
        free(polled);
        return load == NULL || polled == NULL ? -ENOMEM : -ENAMETOOLONG;
    }
    load->plan = plan;
    load->tally = tally;
    load->polled = polled;
    load->address.sun_family = AF_UNIX;
    memcpy(load->address.sun_path, plan->path, strlen(plan->path));
    load->began = load->due = clock_now();
    load->left = plan->requests;
    load->active = plan->clients;
    for (uint32_t i = 0; i < plan->clients; i++) {
        polled[i].fd = -1;
        load_plan_next(load, &load->clients[i], load->began);
    }
    uint64_t busy = load_processor_time();
    uint64_t checked = load->began;
    while (load->active > 0) {
        uint64_t now = clock_now();
        if (now - checked >= LOAD_TICK) {
            checked = now;
            load->is_over = load->is_over || !plan->check(plan->context);
        }
        load_wait(load, load_tend(load, now));
    }
    tally->busy = load_processor_time() - busy;
    free(polled);
    free(load);
    return 0;
}
