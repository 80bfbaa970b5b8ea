#include "server/desk.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/brief.h"
#include "server/hangup.h"
#include "server/rights.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define DESK_SHORT_INTERVAL (50 * CLOCK_MS) /* before accepting again when descriptors or memory were missing */

enum {
    DESK_EVENTS = DESK_CLIENTS + DESK_DOORS,
    DESK_ACCEPTS = 16,   /* connections in one turn: clients that come without end must not hold up the supervisor */
    DESK_PIPELINED = 16, /* requests of one client in one turn, likewise */
};

/* ---- clients ---------------------------------------------------------------------------------------------------- */

static void desk_enter(struct desk_client *client, enum desk_state state, uint64_t now, uint64_t span)
{
    client->state = state;
    client->since = now;
    client->deadline = clock_after(now, span);
}

static void desk_watch(const struct desk *desk, struct desk_client *client, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = client};
    (void)epoll_ctl(desk->epoll, EPOLL_CTL_MOD, client->fd, &event);
}

/* A worker that was forked a moment ago may still have a copy of the connection, and with it its place in the epoll
 * set: so it is taken out first. */
static void desk_drop(const struct desk *desk, struct desk_client *client)
{
    buffer_done(&client->out);
    (void)epoll_ctl(desk->epoll, EPOLL_CTL_DEL, client->fd, NULL);
    (void)hangup(&client->fd);
    client->state = DESK_FREE;
}

static void desk_expect(struct desk *desk, struct desk_client *client)
{
    client->request = http1_request_make(DESK_BODY_MAX);
    client->number = ++desk->numbers;
    client->has_head = client->is_head = client->is_invited = client->is_refused = false;
}

/* It has sent nothing of a request, or has had its answer. */
static bool desk_is_idle(const struct desk_client *client)
{
    return client->state == DESK_DRAINING || (client->state == DESK_READING && client->got == 0);
}

/* Whose place a new client gets; NULL: all are being answered. */
static struct desk_client *desk_find_place(struct desk *desk)
{
    struct desk_client *idle = NULL;
    struct desk_client *slow = NULL;
    for (uint32_t i = 0; i < DESK_CLIENTS; i++) {
        struct desk_client *client = &desk->clients[i];
        if (client->state == DESK_FREE) {
            return client;
        }
        if (desk_is_idle(client) && (idle == NULL || client->since < idle->since)) {
            idle = client;
        } else if (client->state != DESK_PENDING && (slow == NULL || client->since < slow->since)) {
            slow = client;
        }
    }
    return idle != NULL ? idle : slow;
}

/* ---- replies ---------------------------------------------------------------------------------------------------- */

/* The next bytes of the reply. */
static struct view desk_rest(const struct desk_client *client)
{
    if (client->sent < client->head_size) {
        return (struct view){client->head + client->sent, client->head_size - client->sent};
    }
    size_t at = client->sent - client->head_size;
    return (struct view){(const char *)client->out.data + at, client->out.size - at};
}

/* Sends what the client takes now. False: it is gone. */
static bool desk_push(struct desk_client *client)
{
    for (struct view rest = desk_rest(client); rest.size > 0; rest = desk_rest(client)) {
        ssize_t sent = send(client->fd, rest.data, rest.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EINTR) {
            return errno == EAGAIN || errno == EWOULDBLOCK;
        }
        client->sent += sent > 0 ? (size_t)sent : 0;
    }
    return true;
}

/* The reply is out: the next request may be there already. */
static void desk_next(struct desk *desk, struct desk_client *client, uint64_t now)
{
    size_t used = client->request.head_size + (size_t)client->request.content_length;
    buffer_done(&client->out);
    if (client->is_refused && shutdown(client->fd, SHUT_WR) == 0) {
        desk_enter(client, DESK_DRAINING, now, DESK_DRAIN_TIME);
        desk_watch(desk, client, EPOLLIN);
        return;
    }
    if (!client->keep_alive || used > client->got) {
        desk_drop(desk, client);
        return;
    }
    client->got -= used;
    memmove(client->in, client->in + used, client->got);
    desk_expect(desk, client);
    desk_enter(client, DESK_READING, now, client->got > 0 ? DESK_READ_TIME : DESK_IDLE_TIME);
    desk_watch(desk, client, EPOLLIN);
}

static void desk_send(struct desk *desk, struct desk_client *client, struct desk_reply *reply, uint64_t now)
{
    struct http1_response response = {.status = reply->status,
                                      .content_length = reply->body.size,
                                      .keep_alive = client->keep_alive,
                                      .minor = client->request.minor,
                                      .allow = reply->allow,
                                      .type = reply->type};
    client->head_size = http1_response_head(&response, client->head);
    client->sent = 0;
    client->out = reply->body;
    reply->body = buffer_make(0);
    if (client->is_head) {
        buffer_done(&client->out);
    }
    desk_enter(client, DESK_WRITING, now, DESK_WRITE_TIME);
    if (!desk_push(client)) {
        desk_drop(desk, client);
    } else if (desk_rest(client).size == 0) {
        desk_next(desk, client, now);
    } else {
        desk_watch(desk, client, EPOLLOUT);
    }
}

/* A request that is not valid HTTP. `text` is printable ASCII without a backslash; quotes in it become single ones. */
static void desk_refuse(struct desk *desk, struct desk_client *client, unsigned status, const char *text, uint64_t now)
{
    char body[256];
    int size = snprintf(body, sizeof body, "{\"error\":\"bad_request\",\"message\":\"%.180s\"}\n", text);
    struct desk_reply reply = {.status = status, .body = buffer_make(sizeof body)};
    for (char *at = body + sizeof "{\"error\":\"bad_request\",\"message\":\"" - 1; at < body + size - 3; at++) {
        *at = *at == '"' ? '\'' : *at;
    }
    client->keep_alive = false;
    client->is_refused = true;
    (void)buffer_append(&reply.body, body, (size_t)size); /* without memory the status says it */
    desk_send(desk, client, &reply, now);
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

static void desk_submit(struct desk *desk, struct desk_client *client, uint64_t now)
{
    const struct http1_request *head = &client->request;
    const struct desk_request request = {
        .door = client->door,
        .method = head->method,
        .path = http1_view(client->in, head->path),
        .head = {(const char *)client->in, head->head_size},
        .body = {(const char *)client->in + head->head_size, (size_t)head->content_length},
        .ticket = {.client = (uint32_t)(client - desk->clients), .number = client->number},
    };
    struct desk_reply reply = {.status = 200, .body = buffer_make(DESK_REPLY_LIMIT)};
    client->keep_alive = head->keep_alive;
    client->is_head = head->method == HTTP1_HEAD;
    desk_enter(client, DESK_PENDING, now, CLOCK_NEVER);
    if (desk->answer(desk->context, &request, &reply)) {
        desk_send(desk, client, &reply, now);
    } else {
        desk_watch(desk, client, 0); /* its end is still reported */
    }
}

/* A client that waits for "100 Continue" before it sends its body gets it once. */
static void desk_invite(struct desk_client *client)
{
    if (client->request.expect_continue && !client->is_invited) {
        struct view interim = http1_continue();
        client->is_invited = true;
        (void)brief_send(client->fd, interim.data, interim.size); /* if not, it is gone: the next read says so */
    }
}

/* Handles what is in the client's array. False: more has to come. */
static bool desk_parse(struct desk *desk, struct desk_client *client, uint64_t now)
{
    struct http1_error err;
    if (!client->has_head) {
        switch (http1_request_feed(&client->request, client->in, client->got, &err)) {
        case WIRE_MORE:
            if (client->got == sizeof client->in) {
                desk_refuse(desk, client, 400, "the head is larger than 8192 bytes", now);
                return true;
            }
            return false;
        case WIRE_BAD:
            desk_refuse(desk, client, err.status, err.text, now);
            return true;
        case WIRE_DONE:
            client->has_head = true;
            break;
        }
    }
    if (client->request.body == HTTP1_BODY_CHUNKED) {
        desk_refuse(desk, client, 400, "send the body with a Content-Length instead of in chunks", now);
        return true;
    }
    size_t whole = client->request.head_size + (size_t)client->request.content_length;
    if (whole > sizeof client->in) {
        desk_refuse(desk, client, 400, "the request is larger than 8192 bytes", now);
    } else if (whole > client->got) {
        desk_invite(client);
        return false;
    } else {
        desk_submit(desk, client, now);
    }
    return true;
}

/* Reads once. False: the client is gone, or nothing has come. */
static bool desk_read(const struct desk *desk, struct desk_client *client, uint64_t now)
{
    struct iovec part = {.iov_base = client->in + client->got, .iov_len = sizeof client->in - client->got};
    ssize_t got = rights_receive(client->fd, &part, 1);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
            desk_drop(desk, client);
        }
        return false;
    }
    if (client->got == 0) {
        desk_enter(client, DESK_READING, now, DESK_READ_TIME);
    }
    client->got += (size_t)got;
    return true;
}

/* Handles all requests that are there. */
static void desk_serve(struct desk *desk, struct desk_client *client, uint64_t now)
{
    for (int i = 0; i < DESK_PIPELINED; i++) {
        if (client->state != DESK_READING || client->got == 0 || !desk_parse(desk, client, now)) {
            return;
        }
    }
    if (client->state == DESK_READING && client->got > 0) {
        desk_drop(desk, client); /* no ordinary client sends so many before the first reply */
    }
}

/* Sends what the client takes now, and goes on once that was all. */
static void desk_send_rest(struct desk *desk, struct desk_client *client, uint64_t now)
{
    if (!desk_push(client)) {
        desk_drop(desk, client);
    } else if (desk_rest(client).size == 0) {
        desk_next(desk, client, now);
        desk_serve(desk, client, now);
    }
}

/* ---- accepting -------------------------------------------------------------------------------------------------- */

static bool desk_seat(struct desk *desk, enum desk_door door, int *fd, uint64_t now)
{
    struct desk_client *client = desk_find_place(desk);
    if (client == NULL) {
        (void)hangup(fd);
        return false;
    }
    if (client->state != DESK_FREE) {
        log_debug(EVENT_CLIENT_REFUSED, "a client of the control socket gave way to another one");
        desk_drop(desk, client);
    }
    client->fd = fd_take(fd);
    client->door = door;
    client->got = 0;
    client->out = buffer_make(DESK_REPLY_LIMIT);
    desk_expect(desk, client);
    desk_enter(client, DESK_READING, now, DESK_READ_TIME);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (epoll_ctl(desk->epoll, EPOLL_CTL_ADD, client->fd, &event) != 0) {
        desk_drop(desk, client);
        return false;
    }
    return true;
}

static void desk_set_accepting(const struct desk *desk, enum desk_door door, bool accepts)
{
    struct epoll_event event = {.events = accepts ? EPOLLIN : 0};
    event.data.u64 = door;
    (void)epoll_ctl(desk->epoll, EPOLL_CTL_MOD, desk->doors[door], &event);
}

static void desk_accept(struct desk *desk, enum desk_door door, uint64_t now)
{
    for (int i = 0; i < DESK_ACCEPTS; i++) {
        FD_SCOPED int fd = accept4(desk->doors[door], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
            desk_set_accepting(desk, door, false); /* the listening socket stays readable, and the loop would spin */
            desk->opens_at[door] = clock_after(now, DESK_SHORT_INTERVAL);
        }
        if (fd < 0 && errno != EINTR && errno != ECONNABORTED) {
            return;
        }
        if (fd >= 0 && fd_raise(&fd) == 0) {
            rights_keep_in_line(fd);
            (void)desk_seat(desk, door, &fd, now);
        }
    }
}

/* ---- the desk --------------------------------------------------------------------------------------------------- */

void desk_init(struct desk *desk)
{
    for (uint32_t i = 0; i < DESK_CLIENTS; i++) {
        desk->clients[i].fd = -1;
    }
    desk->epoll = desk->doors[DESK_CONTROL] = desk->doors[DESK_PORT] = -1;
}

int desk_open(struct desk *desk)
{
    desk->epoll = epoll_create1(EPOLL_CLOEXEC);
    return desk->epoll < 0 ? -errno : 0;
}

int desk_set_door(struct desk *desk, enum desk_door door, int listener)
{
    if (desk->doors[door] >= 0) {
        (void)epoll_ctl(desk->epoll, EPOLL_CTL_DEL, desk->doors[door], NULL);
    }
    desk->doors[door] = -1;
    desk->opens_at[door] = 0;
    struct epoll_event event = {.events = EPOLLIN};
    event.data.u64 = door; /* no client has so low an address */
    if (listener >= 0 && epoll_ctl(desk->epoll, EPOLL_CTL_ADD, listener, &event) != 0) {
        return -errno;
    }
    desk->doors[door] = listener;
    return 0;
}

static void desk_obey(struct desk *desk, struct desk_client *client, uint32_t events, uint64_t now)
{
    if (client->state == DESK_READING) {
        if (desk_read(desk, client, now)) {
            desk_serve(desk, client, now);
        }
    } else if (client->state == DESK_DRAINING) {
        if (hangup_discard(client->fd) == 0 || (events & (EPOLLERR | EPOLLHUP)) != 0) {
            desk_drop(desk, client);
        }
    } else if (client->state == DESK_WRITING && (events & (EPOLLERR | EPOLLHUP)) == 0) {
        desk_send_rest(desk, client, now);
    } else if (client->state != DESK_FREE && (events & (EPOLLERR | EPOLLHUP)) != 0) {
        desk_drop(desk, client);
    }
}

void desk_turn(struct desk *desk)
{
    struct epoll_event events[DESK_EVENTS];
    uint64_t now = clock_now();
    int count = epoll_wait(desk->epoll, events, DESK_EVENTS, 0);
    for (int i = 0; i < count; i++) { /* clients first: accepting may give their places to others */
        if (events[i].data.u64 >= DESK_DOORS) {
            desk_obey(desk, events[i].data.ptr, events[i].events, now);
        }
    }
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 < DESK_DOORS) {
            desk_accept(desk, (enum desk_door)events[i].data.u64, now);
        }
    }
}

uint64_t desk_tend(struct desk *desk, uint64_t now)
{
    uint64_t next = CLOCK_NEVER;
    for (uint32_t i = 0; i < DESK_CLIENTS && desk->epoll >= 0; i++) {
        struct desk_client *client = &desk->clients[i];
        if (client->state != DESK_FREE && client->deadline <= now) {
            desk_drop(desk, client);
        } else if (client->state != DESK_FREE) {
            next = clock_earlier(next, client->deadline);
        }
    }
    for (unsigned door = 0; door < DESK_DOORS; door++) {
        if (desk->opens_at[door] != 0 && desk->opens_at[door] <= now) {
            desk->opens_at[door] = 0;
            desk_set_accepting(desk, (enum desk_door)door, true);
        }
        next = desk->opens_at[door] != 0 ? clock_earlier(next, desk->opens_at[door]) : next;
    }
    return next;
}

bool desk_is_waiting(const struct desk *desk, struct desk_ticket ticket)
{
    const struct desk_client *client = &desk->clients[ticket.client];
    return client->state == DESK_PENDING && client->number == ticket.number;
}

void desk_reply(struct desk *desk, struct desk_ticket ticket, struct desk_reply *reply)
{
    struct desk_client *client = &desk->clients[ticket.client];
    if (desk_is_waiting(desk, ticket)) {
        uint64_t now = clock_now();
        desk_send(desk, client, reply, now);
        desk_serve(desk, client, now);
    }
    buffer_done(&reply->body);
}

void desk_close(struct desk *desk)
{
    for (uint32_t i = 0; i < DESK_CLIENTS && desk->epoll >= 0; i++) {
        if (desk->clients[i].state != DESK_FREE) {
            desk_drop(desk, &desk->clients[i]);
        }
    }
    desk_forget(desk);
}

void desk_forget(struct desk *desk)
{
    if (desk->epoll < 0) {
        return;
    }
    for (uint32_t i = 0; i < DESK_CLIENTS; i++) {
        fd_close(&desk->clients[i].fd);
    }
    fd_close(&desk->doors[DESK_PORT]);
    desk->doors[DESK_CONTROL] = -1;
    fd_close(&desk->epoll);
}
