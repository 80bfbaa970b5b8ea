/*
 * The life of a client:
 *
 *     PAUSED --connected--> SENDING --all sent, half-closed--> READING --end of the reply--> next request, or ENDED
 *       ^ |                    |  \_ the server answers and closes early: judged as a reply _^
 *       | |                    |
 *       +-+ nobody listens, or the backlog is full: tried again in a moment
 *
 * A request has one deadline, from its start to the end of its reply; it is the same span for all, so a scan over all
 * clients now and then finds those that are late.
 */
#include "loop.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { SCRATCH_SIZE = 1 << 18, RETRY_MS = 1, TICK_MS = 20, REFUSED_PAUSE_NS = 10 * 1000 * 1000 };

enum state { PAUSED, SENDING, READING, ENDED };

struct client {
    enum state state;
    struct pollfd *polled; /* holds the connection, -1 while there is none */
    bool begun;
    uint64_t start_ns;
    uint64_t resume_ns; /* PAUSED: not before */
    size_t sent;
    struct exchange exchange;
};

struct loop {
    const struct plan *plan;
    const struct loop_options *options;
    struct pollfd *polled; /* one for each client */
    unsigned active;       /* clients that have not ended */
    unsigned paused;
    uint64_t until_ns; /* no new request from then on */
    uint64_t left;     /* requests that may still begin */
    uint64_t next_number;
    uint64_t next_scan_ns;
    struct tally tally;
    char scratch[SCRATCH_SIZE];
    struct client clients[];
};

static uint64_t read_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static uint64_t now_ns(void) { return read_clock(CLOCK_MONOTONIC); }

static void begin_request(struct loop *loop, struct client *client);

static void hang_up(struct client *client)
{
    if (client->polled->fd >= 0) {
        close(client->polled->fd);
    }
    client->polled->fd = -1;
}

static void count(struct loop *loop, const struct client *client, enum outcome outcome, uint64_t end_ns)
{
    struct tally *tally = &loop->tally;
    const struct exchange *exchange = &client->exchange;
    tally->outcomes[outcome]++;
    tally->last_end_ns = end_ns;
    tally->sent_bytes += client->sent;
    tally->received_bytes += exchange->reply_size;
    if (outcome == OUTCOME_ok) {
        histogram_add(&tally->latencies, end_ns - client->start_ns);
    } else if (tally->stray_reply_size == 0 && exchange->reply_size > 0) {
        size_t size = exchange->reply_size < REPLY_HEAD_MAX ? exchange->reply_size : REPLY_HEAD_MAX;
        memcpy(tally->stray_reply, exchange->reply_head, size);
        tally->stray_reply_size = size;
    }
}

static void pause_client(struct loop *loop, struct client *client, uint64_t resume_ns)
{
    loop->paused += client->state != PAUSED;
    client->state = PAUSED;
    client->resume_ns = resume_ns;
}

/* Begins the client's next request at the next turn of the loop, or ends the client when the run is over. Where the
 * protocol keeps connections, the next request goes out on the same one. */
static void finish(struct loop *loop, struct client *client, enum outcome outcome)
{
    uint64_t end_ns = now_ns();
    count(loop, client, outcome, end_ns);
    bool over = *loop->options->stopped || loop->left == 0 || end_ns >= loop->until_ns;
    if (over || outcome != OUTCOME_ok || !loop->plan->mode->keeps) {
        hang_up(client);
    }
    client->begun = false;
    if (over) {
        loop->paused -= client->state == PAUSED;
        client->state = ENDED;
        loop->active--;
    } else if (outcome == OUTCOME_connect) {
        pause_client(loop, client, end_ns + REFUSED_PAUSE_NS);
    } else {
        begin_request(loop, client);
    }
}

/* sendmsg only reads what an iovec points to, but the type cannot say so. */
static void *for_iovec(const char *bytes)
{
    union {
        const char *in;
        void *out;
    } pointer = {bytes};
    return pointer.out;
}

/* The bytes that are not sent yet, in up to three pieces. */
static size_t rest_of_request(const struct loop *loop, const struct client *client, struct iovec pieces[3])
{
    const struct exchange *exchange = &client->exchange;
    const struct view parts[3] = {{exchange->head, exchange->head_size}, loop->plan->body, exchange->tail};
    size_t skip = client->sent;
    size_t used = 0;
    for (size_t i = 0; i < 3; i++) {
        if (skip >= parts[i].size) {
            skip -= parts[i].size;
            continue;
        }
        pieces[used++] = (struct iovec){for_iovec(parts[i].data + skip), parts[i].size - skip};
        skip = 0;
    }
    return used;
}

static void await_reply(struct client *client)
{
    client->state = READING;
    client->polled->events = POLLIN | POLLRDHUP;
}

/* Sends what the socket takes. A server that has closed its side may have answered before: then the reply is read. */
static void send_more(struct loop *loop, struct client *client)
{
    size_t size = exchange_request_size(&client->exchange, loop->plan);
    while (client->sent < size) {
        struct iovec pieces[3];
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = rest_of_request(loop, client, pieces)};
        ssize_t sent = sendmsg(client->polled->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            client->sent += (size_t)sent;
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR) {
            await_reply(client);
            return;
        }
    }
    if (loop->plan->half_close) {
        shutdown(client->polled->fd, SHUT_WR); /* fails if the server is gone already: reading finds that out */
    }
    await_reply(client);
}

/*
 * Reads what has come. When poll has already seen the end of the connection, everything the server sent is in the
 * queue and a short read has emptied it: that saves the read that would only return 0 (4 % of the client's time).
 */
static void read_more(struct loop *loop, struct client *client)
{
    bool closed = (client->polled->revents & (POLLHUP | POLLRDHUP)) != 0;
    for (;;) {
        ssize_t size = recv(client->polled->fd, loop->scratch, sizeof(loop->scratch), MSG_DONTWAIT);
        if (size > 0) {
            struct view bytes = {loop->scratch, (size_t)size};
            enum step step = loop->plan->mode->feed(&client->exchange, loop->plan, bytes);
            if (step == STEP_DONE || (closed && bytes.size < sizeof(loop->scratch))) {
                break;
            }
        } else if (size < 0 && errno == EAGAIN) {
            return;
        } else if (size == 0 || errno != EINTR) {
            break; /* a reset after the reply is judged by what came before it */
        }
    }
    finish(loop, client, loop->plan->mode->judge(&client->exchange, loop->plan));
}

/* A full backlog is waited for (the clock runs on), anything else is counted. */
static void connect_client(struct loop *loop, struct client *client)
{
    const struct loop_options *options = loop->options;
    static const int on = 1;
    int fd = socket(options->address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 ||
        (options->address->sa_family == AF_INET && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)) {
        finish(loop, client, OUTCOME_connect);
        return;
    }
    *client->polled = (struct pollfd){.fd = fd, .events = POLLIN | POLLOUT};
    if (connect(fd, options->address, options->address_size) == 0 || errno == EINPROGRESS) {
        loop->paused -= client->state == PAUSED;
        client->state = SENDING;
        send_more(loop, client);
    } else if (errno == EAGAIN) {
        hang_up(client);
        pause_client(loop, client, 0);
    } else {
        finish(loop, client, OUTCOME_connect);
    }
}

static void begin_request(struct loop *loop, struct client *client)
{
    loop->left--;
    exchange_begin(&client->exchange, loop->plan, loop->next_number);
    loop->next_number += loop->options->stride;
    client->begun = true;
    client->sent = 0;
    client->start_ns = now_ns();
    if (loop->tally.first_start_ns == 0) {
        loop->tally.first_start_ns = client->start_ns;
    }
    if (client->polled->fd >= 0) { /* kept */
        client->state = SENDING;
        client->polled->events = POLLIN | POLLOUT;
        send_more(loop, client);
    } else {
        connect_client(loop, client);
    }
}

/* A paused client goes on; with nothing begun it begins, unless the run is over. */
static void resume(struct loop *loop, struct client *client, uint64_t now)
{
    if (client->begun) {
        connect_client(loop, client);
    } else if (*loop->options->stopped || loop->left == 0 || now >= loop->until_ns) {
        loop->paused--;
        client->state = ENDED;
        loop->active--;
    } else {
        begin_request(loop, client);
    }
}

static void scan_clients(struct loop *loop)
{
    uint64_t now = now_ns();
    if (loop->paused == 0 && now < loop->next_scan_ns) {
        return;
    }
    loop->next_scan_ns = now + (uint64_t)TICK_MS * 1000000U;
    for (unsigned i = 0; i < loop->options->clients; i++) {
        struct client *client = &loop->clients[i];
        if (client->begun && now >= client->start_ns && now - client->start_ns >= loop->options->timeout_ns) {
            finish(loop, client, client->polled->fd < 0 ? OUTCOME_connect : OUTCOME_timeout);
        } else if (client->state == PAUSED && now >= client->resume_ns) {
            resume(loop, client, now);
        }
    }
}

static void serve_events(struct loop *loop)
{
    int ready = poll(loop->polled, loop->options->clients, loop->paused > 0 ? RETRY_MS : TICK_MS);
    for (unsigned i = 0; ready > 0 && i < loop->options->clients; i++) {
        struct client *client = &loop->clients[i];
        short events = client->polled->revents;
        ready -= events != 0;
        if (client->state == SENDING && (events & POLLOUT) != 0) {
            send_more(loop, client);
        }
        if ((events & (POLLIN | POLLRDHUP | POLLHUP | POLLERR)) != 0) {
            read_more(loop, client);
        }
    }
}

struct loop *loop_new(const struct plan *plan, const struct loop_options *options)
{
    struct loop *loop = calloc(1, sizeof(struct loop) + options->clients * sizeof(struct client));
    if (loop == NULL) {
        return NULL;
    }
    loop->polled = calloc(options->clients, sizeof(struct pollfd));
    if (loop->polled == NULL) {
        free(loop);
        return NULL;
    }
    loop->plan = plan;
    loop->options = options;
    loop->next_number = options->first_number;
    for (unsigned i = 0; i < options->clients; i++) {
        loop->polled[i].fd = -1;
        loop->clients[i].polled = &loop->polled[i];
    }
    return loop;
}

void loop_free(struct loop *loop)
{
    if (loop != NULL) {
        free(loop->polled);
        free(loop);
    }
}

void loop_run(struct loop *loop, double seconds, uint64_t requests)
{
    memset(&loop->tally, 0, sizeof(loop->tally));
    loop->until_ns = seconds > 0 ? now_ns() + (uint64_t)(seconds * 1e9) : UINT64_MAX;
    loop->left = requests > 0 ? requests : UINT64_MAX;
    loop->active = loop->options->clients;
    loop->paused = loop->options->clients;
    for (unsigned i = 0; i < loop->options->clients; i++) {
        loop->clients[i].state = PAUSED;
        loop->clients[i].begun = false;
        loop->clients[i].resume_ns = 0;
    }
    uint64_t busy_before_ns = read_clock(CLOCK_THREAD_CPUTIME_ID);
    while (loop->active > 0) {
        scan_clients(loop);
        if (loop->active > 0) {
            serve_events(loop);
        }
    }
    loop->tally.busy_ns = read_clock(CLOCK_THREAD_CPUTIME_ID) - busy_before_ns;
}

const struct tally *loop_tally(const struct loop *loop) { return &loop->tally; }

void tally_merge(struct tally *into, const struct tally *from)
{
    for (size_t i = 0; i < OUTCOME_COUNT; i++) {
        into->outcomes[i] += from->outcomes[i];
    }
    if (from->first_start_ns > 0 && (into->first_start_ns == 0 || from->first_start_ns < into->first_start_ns)) {
        into->first_start_ns = from->first_start_ns;
    }
    if (from->last_end_ns > into->last_end_ns) {
        into->last_end_ns = from->last_end_ns;
    }
    into->busy_ns += from->busy_ns;
    into->sent_bytes += from->sent_bytes;
    into->received_bytes += from->received_bytes;
    if (into->stray_reply_size == 0) {
        memcpy(into->stray_reply, from->stray_reply, from->stray_reply_size);
        into->stray_reply_size = from->stray_reply_size;
    }
    histogram_merge(&into->latencies, &from->latencies);
}
