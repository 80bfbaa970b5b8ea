/*
 * The life of a client:
 *
 *     PAUSED --connected--> SENDING --all sent, half-closed--> READING --end of the reply--> next request, or ENDED
 *       ^ |                    |  \_ the server answers and closes early: judged as a reply _^
 *       | |                    |
 *       +-+ nobody listens, or the backlog is full: tried again in a moment
 *
 * In an open loop a client is FREE before its first request and between two.
 *
 * A request has one deadline, from its start to the end of its reply; it is the same span for all, so a scan over all
 * clients now and then finds those that are late.
 */
#include "loop.h"

#include "schedule.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { SCRATCH_SIZE = 1 << 18, MS = 1000 * 1000, RETRY_NS = MS, TICK_NS = 20 * MS, REFUSED_PAUSE_NS = 10 * MS };

/* A sleeping thread wakes some 50 us late. For a moment that is so near, poll is asked again and again instead. */
enum { AWAKE_NS = 100 * 1000 };

enum state { PAUSED, FREE, SENDING, READING, ENDED };

struct client {
    enum state state;
    struct pollfd *polled; /* holds the connection, -1 while there is none */
    bool begun;
    uint64_t due_ns;    /* latency counts from here; closed loop: start_ns */
    uint64_t start_ns;  /* and the timeout from here */
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
    struct schedule schedule; /* of an open loop */
    unsigned *free;           /* a ring: the clients that are FREE, the one that has been so for longest first */
    unsigned free_first;
    unsigned free_count;
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

static void begin_request(struct loop *loop, struct client *client, uint64_t due_ns);

static bool is_open(const struct loop *loop) { return loop->options->rate > 0; }

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
        histogram_add(&tally->latencies, end_ns - client->due_ns);
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

/* No request begins any more. An open loop also begins what was due before the end, however late, if not too late. */
static bool is_over(const struct loop *loop, uint64_t now)
{
    if (*loop->options->stopped || loop->left == 0) {
        return true;
    }
    if (!is_open(loop)) {
        return now >= loop->until_ns;
    }
    uint64_t due = schedule_next(&loop->schedule);
    return due >= loop->until_ns || (now >= due && now - due >= loop->options->timeout_ns);
}

static void end_client(struct loop *loop, struct client *client)
{
    loop->paused -= client->state == PAUSED;
    client->state = ENDED;
    loop->active--;
}

static void free_client(struct loop *loop, struct client *client)
{
    loop->paused -= client->state == PAUSED;
    client->state = FREE;
    unsigned at = (loop->free_first + loop->free_count) % loop->options->clients;
    loop->free[at] = (unsigned)(client - loop->clients);
    loop->free_count++;
}

/* Begins the client's next request, or sets it free for that, or ends the client when the run is over. Where the
 * protocol keeps connections, the next request goes out on the same one. */
static void finish(struct loop *loop, struct client *client, enum outcome outcome)
{
    uint64_t end_ns = now_ns();
    count(loop, client, outcome, end_ns);
    bool over = is_over(loop, end_ns);
    bool last = over && !is_open(loop); /* a server that serves one kept connection at a time goes on to the others */
    if (last || outcome != OUTCOME_ok || !loop->plan->mode->keeps) {
        hang_up(client);
    }
    client->begun = false;
    if (over) {
        end_client(loop, client);
    } else if (is_open(loop)) {
        free_client(loop, client);
    } else if (outcome == OUTCOME_connect) {
        pause_client(loop, client, end_ns + REFUSED_PAUSE_NS);
    } else {
        begin_request(loop, client, end_ns);
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

static void begin_request(struct loop *loop, struct client *client, uint64_t due_ns)
{
    loop->left--;
    exchange_begin(&client->exchange, loop->plan, loop->next_number);
    loop->next_number += loop->options->stride;
    client->begun = true;
    client->sent = 0;
    client->start_ns = now_ns();
    client->due_ns = is_open(loop) ? due_ns : client->start_ns;
    if (loop->tally.first_start_ns == 0) {
        loop->tally.first_start_ns = client->start_ns;
    }
    if (client->polled->fd >= 0) { /* kept */
        loop->paused -= client->state == PAUSED;
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
    } else if (is_over(loop, now)) {
        end_client(loop, client);
    } else {
        begin_request(loop, client, now);
    }
}

/* Open loop: begins what is due, as far as clients are free. */
static void begin_due(struct loop *loop)
{
    uint64_t now = now_ns();
    while (loop->free_count > 0) {
        bool over = is_over(loop, now);
        uint64_t due = schedule_next(&loop->schedule);
        if (!over && due > now) {
            return;
        }
        struct client *client = &loop->clients[loop->free[loop->free_first]];
        loop->free_first = (loop->free_first + 1) % loop->options->clients;
        loop->free_count--;
        if (over) {
            end_client(loop, client);
        } else {
            schedule_advance(&loop->schedule);
            loop->tally.late_ns = now - due;
            begin_request(loop, client, due);
        }
    }
}

static void scan_clients(struct loop *loop)
{
    uint64_t now = now_ns();
    if (loop->paused == 0 && now < loop->next_scan_ns) {
        return;
    }
    loop->next_scan_ns = now + TICK_NS;
    for (unsigned i = 0; i < loop->options->clients; i++) {
        struct client *client = &loop->clients[i];
        if (client->begun && now >= client->start_ns && now - client->start_ns >= loop->options->timeout_ns) {
            finish(loop, client, client->polled->fd < 0 ? OUTCOME_connect : OUTCOME_timeout);
        } else if (client->state == PAUSED && now >= client->resume_ns) {
            resume(loop, client, now);
        }
    }
}

/* How long to wait for an event at most. */
static uint64_t wait_ns(const struct loop *loop)
{
    uint64_t wait = loop->paused > 0 ? RETRY_NS : TICK_NS;
    if (loop->free_count > 0) {
        uint64_t due = schedule_next(&loop->schedule);
        uint64_t now = now_ns();
        uint64_t left = due > now + AWAKE_NS ? due - now - AWAKE_NS : 0;
        wait = left < wait ? left : wait;
    }
    return wait;
}

static void serve_events(struct loop *loop)
{
    struct timespec wait = {.tv_nsec = (long)wait_ns(loop)};
    int ready = ppoll(loop->polled, loop->options->clients, &wait, NULL);
    for (unsigned i = 0; ready > 0 && i < loop->options->clients; i++) {
        struct client *client = &loop->clients[i];
        short events = client->polled->revents;
        ready -= events != 0;
        if (events != 0 && !client->begun) {
            hang_up(client); /* the server has closed a connection that it kept, or sends what nobody asked for */
            continue;
        }
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
    loop->free = calloc(options->clients, sizeof(unsigned));
    if (loop->polled == NULL || loop->free == NULL) {
        free(loop->polled);
        free(loop->free);
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
        for (unsigned i = 0; i < loop->options->clients; i++) {
            hang_up(&loop->clients[i]);
        }
        free(loop->polled);
        free(loop->free);
        free(loop);
    }
}

static void set_up_run(struct loop *loop, double seconds, uint64_t requests)
{
    const struct loop_options *options = loop->options;
    uint64_t now = now_ns();
    memset(&loop->tally, 0, sizeof(loop->tally));
    loop->until_ns = seconds > 0 ? now + (uint64_t)(seconds * 1e9) : UINT64_MAX;
    loop->left = requests > 0 ? requests : UINT64_MAX;
    loop->active = options->clients;
    loop->paused = options->clients;
    for (unsigned i = 0; i < options->clients; i++) {
        loop->clients[i].state = PAUSED;
        loop->clients[i].begun = false;
        loop->clients[i].resume_ns = 0;
    }
    if (is_open(loop)) {
        schedule_begin(&loop->schedule, options->rate, options->poisson, options->seed, now);
        (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); /* without it ppoll wakes 50 us later still */
        for (unsigned i = 0; i < options->clients; i++) {
            free_client(loop, &loop->clients[i]);
        }
    }
}

void loop_run(struct loop *loop, double seconds, uint64_t requests)
{
    set_up_run(loop, seconds, requests);
    uint64_t busy_before_ns = read_clock(CLOCK_THREAD_CPUTIME_ID);
    while (loop->active > 0) {
        scan_clients(loop);
        begin_due(loop);
        if (loop->active > 0) {
            serve_events(loop);
        }
    }
    loop->tally.busy_ns = read_clock(CLOCK_THREAD_CPUTIME_ID) - busy_before_ns;
    while (is_open(loop) && loop->left > 0 && schedule_next(&loop->schedule) < loop->until_ns &&
           !*loop->options->stopped) {
        loop->tally.unsent++;
        loop->left--;
        schedule_advance(&loop->schedule);
    }
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
    into->unsent += from->unsent;
    into->late_ns = from->late_ns > into->late_ns ? from->late_ns : into->late_ns;
    into->sent_bytes += from->sent_bytes;
    into->received_bytes += from->received_bytes;
    if (into->stray_reply_size == 0) {
        memcpy(into->stray_reply, from->stray_reply, from->stray_reply_size);
        into->stray_reply_size = from->stray_reply_size;
    }
    histogram_merge(&into->latencies, &from->latencies);
}
