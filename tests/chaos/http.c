/* HTTP: connections that are kept, requests sent together, streams. */
#include "dialog.h"
#include "events.h"
#include "response.h"
#include "verdict.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    HEAD_ROOM = 256,
    LEAVE_AFTER_US = 3000,
    LISTEN_ONE_IN = 4, /* before a connection is used again, for up to LISTEN_MS */
    LISTEN_MS = 8,
    TWO_PIECES_ONE_IN = 16,
    CHUNKED_ONE_IN = 16,
    EXPECT_ONE_IN = 30,
    SLOW_READER_US = 20000,
    ATTEMPTS_MAX = 50, /* of sending one batch again before something must be wrong */
};

enum head { HEAD_LENGTH, HEAD_CHUNKED, HEAD_EXPECT };

/* One request as it goes over the wire. `*ret_head` is the size of its head. */
static size_t write_request(const struct order *order, enum head form, char *target, size_t *ret_head)
{
    static _Thread_local char body[ORDER_ROOM];
    if (order->is_health) {
        return *ret_head = (size_t)sprintf(target, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    size_t size = order_message(order, FORM_HTTP, body);
    size_t half = size / 2;
    char *at = target + sprintf(target, "POST /invoke HTTP/1.1\r\nHost: localhost\r\n%s",
                                form == HEAD_EXPECT ? "Expect: 100-continue\r\n" : "");
    if (form != HEAD_CHUNKED) {
        at += sprintf(at, "Content-Length: %zu\r\n\r\n", size);
        *ret_head = (size_t)(at - target);
        memcpy(at, body, size);
        return (size_t)(at + size - target);
    }
    at += sprintf(at, "Transfer-Encoding: chunked\r\n\r\n");
    *ret_head = (size_t)(at - target);
    at += sprintf(at, "%zx\r\n", half);
    memcpy(at, body, half);
    at += half;
    at += sprintf(at, "\r\n%zx\r\n", size - half);
    memcpy(at, body + half, size - half);
    at += size - half;
    return (size_t)(at + sprintf(at, "\r\n0\r\n\r\n") - target);
}

/* What comes on a connection with nothing outstanding. Closed if it cannot be used any more. */
static void look_for_unasked(struct link *link, const char *way)
{
    if (link->size > 0) {
        link_read_all(link);
        verdict_unsolicited(way, link->bytes, link_reason(link));
        link_close(link);
    } else if (link->state != LINK_OPEN) {
        if (link->state == LINK_RESET) {
            verdict_unsolicited(way, "", "a reset on an idle connection");
        }
        link_close(link);
    }
}

static void listen_now_and_then(struct speaker *speaker, struct link *link, const char *way)
{
    bool waits = chance_one_in(&speaker->chance, LISTEN_ONE_IN);
    link_listen(link, waits ? (int)chance_below(&speaker->chance, LISTEN_MS) : 0);
    look_for_unasked(link, way);
}

void dialog_leave(struct speaker *speaker, struct link *link, const char *way)
{
    if (link->fd >= 0) {
        listen_now_and_then(speaker, link, way);
        link_close(link);
    }
}

static enum verdict judge_whole(const struct speaker *speaker, const struct order *order,
                                const struct response *response)
{
    if (response->is_chunked) {
        return VERDICT_WRONG; /* no stream was asked for */
    }
    enum verdict verdict = verdict_of(order, FORM_HTTP, response->body, response->size, speaker->shared);
    bool is_fitting = (verdict == VERDICT_OK && response->status == 200) ||
                      (verdict == VERDICT_ERROR && (response->status == 500 || response->status == 503));
    return is_fitting || verdict > VERDICT_DISCONNECTED ? verdict : VERDICT_WRONG;
}

static enum verdict judge_stream(const struct speaker *speaker, const struct order *order,
                                 const struct response *response, bool is_whole)
{
    int worker;
    if (!response->is_chunked) { /* it died before the stream began */
        return is_whole ? verdict_of_other(order, FORM_HTTP, response->body, response->size, speaker->shared)
                        : VERDICT_TRUNCATED;
    }
    enum verdict verdict = response->status == 200
                               ? events_judge(order, response->body, response->size, is_whole, speaker->shared, &worker)
                               : VERDICT_WRONG;
    if (verdict == VERDICT_CUT) {
        verdict_cut_by(worker);
    }
    return verdict;
}

static enum verdict judge_part(const struct speaker *speaker, const struct link *link, const struct order *order,
                               const struct response *response)
{
    if (link->state == LINK_LATE) {
        return VERDICT_LATE;
    }
    if (order->events > 0) {
        return judge_stream(speaker, order, response, false);
    }
    bool is_own = verdict_of(order, FORM_HTTP, response->body, response->size, speaker->shared) == VERDICT_CUT;
    return is_own ? VERDICT_CUT : VERDICT_TRUNCATED;
}

static enum verdict judge_step(const struct speaker *speaker, const struct link *link, const struct order *order,
                               enum response_step step, const struct response *response)
{
    switch (step) {
    case RESPONSE_WHOLE:
        return order->events > 0 ? judge_stream(speaker, order, response, true) : judge_whole(speaker, order, response);
    case RESPONSE_NOTHING:
        return link->state == LINK_LATE ? VERDICT_LATE : VERDICT_LOST;
    case RESPONSE_PART:
        return judge_part(speaker, link, order, response);
    case RESPONSE_PART_HEAD:
        return link->state == LINK_LATE ? VERDICT_LATE : VERDICT_TRUNCATED;
    default:
        return VERDICT_WRONG;
    }
}

/* After a response that says so: the end, and nothing before it. */
static enum verdict hear_end(struct link *link, enum verdict verdict, const char *way)
{
    link_read_all(link);
    if (link->size > 0) {
        verdict_unsolicited(way, link->bytes, "behind a response that closes");
        return verdict;
    }
    return link->state == LINK_LATE                                       ? VERDICT_LATE
           : link->state == LINK_RESET && verdict <= VERDICT_DISCONNECTED ? VERDICT_RESET
                                                                          : verdict;
}

/* Hears one order's response and counts it. False if the connection gives no further one; `*ret_closes`: because the
 * server has said so. */
static bool hear(struct speaker *speaker, struct link *link, const struct order *order, const char *way,
                 bool *ret_closes)
{
    static _Thread_local struct response response;
    enum response_step step;
    do {
        step = response_read(link, &response);
    } while (step == RESPONSE_WHOLE && response.status == 100);
    enum verdict verdict = judge_step(speaker, link, order, step, &response);
    *ret_closes = (step == RESPONSE_WHOLE || step == RESPONSE_PART) && response.closes;
    if (*ret_closes && step == RESPONSE_WHOLE) {
        verdict = hear_end(link, verdict, way);
    }
    verdict_count(verdict, order, way, step == RESPONSE_MALFORMED ? link->bytes : response.body, link_reason(link));
    return step == RESPONSE_WHOLE && !response.closes;
}

/* Opens or reuses. True if it was open before. */
static bool get_ready(struct speaker *speaker, struct link *link, const char *way)
{
    if (link->fd >= 0) {
        listen_now_and_then(speaker, link, way);
        if (link->fd >= 0) {
            return true;
        }
        verdict_sent_again(true);
    }
    link_dial(link);
    return false;
}

/* Sends a request whose body waits for an invitation. Returns how much the socket took. */
static size_t send_after_invitation(struct link *link, const char *bytes, size_t size, size_t head)
{
    size_t sent = link_send(link, bytes, head);
    if (sent == head && (link->size > 0 || link_read(link)) && strncmp(link->bytes, "HTTP/1.1 100 ", 13) == 0) {
        sent += link_send(link, bytes + head, size - head);
    }
    return sent;
}

/* Sends the orders. Returns how much the socket took; `*ret_left`: the client has hung up. */
static size_t say(struct speaker *speaker, struct link *link, const struct order *orders, size_t count, bool *ret_left)
{
    static _Thread_local char bytes[ORDER_ROOM];
    struct chance *chance = &speaker->chance;
    size_t size = 0;
    size_t head = 0;
    bool expects = count == 1 && !orders[0].is_health && chance_one_in(chance, EXPECT_ONE_IN);
    for (size_t i = 0; i < count; i++) {
        enum head form = expects ? HEAD_EXPECT : chance_one_in(chance, CHUNKED_ONE_IN) ? HEAD_CHUNKED : HEAD_LENGTH;
        size += write_request(&orders[i], form, bytes + size, &head);
    }
    *ret_left = chance_one_in(chance, DISCONNECT_ONE_IN);
    if (*ret_left) {
        size_t sent = link_send(link, bytes, chance_below(chance, (unsigned)size + 1));
        (void)usleep(chance_below(chance, LEAVE_AFTER_US));
        return sent;
    }
    if (expects) {
        return send_after_invitation(link, bytes, size, head);
    }
    size_t first = chance_one_in(chance, TWO_PIECES_ONE_IN) ? chance_below(chance, (unsigned)size) : 0;
    size_t sent = link_send(link, bytes, first);
    return sent < first ? sent : sent + link_send(link, bytes + first, size - first);
}

/* Sends `count` orders once. Returns how many got their verdict: less than all if the server leaves the others to be
 * sent again. */
static size_t exchange(struct speaker *speaker, struct link *link, const struct order *orders, size_t count,
                       const char *way)
{
    bool leaves;
    bool was_open = get_ready(speaker, link, way);
    uint64_t begun = verdict_now_us();
    size_t sent = say(speaker, link, orders, count, &leaves);
    if (leaves) {
        link_close(link);
        for (size_t i = 0; i < count; i++) {
            verdict_count(VERDICT_DISCONNECTED, &orders[i], way, "", "");
        }
        return count;
    }
    if (sent == 0 && was_open && link->state != LINK_LATE) { /* it was closed in the moment before */
        link_listen(link, 0);
        look_for_unasked(link, way);
        link_close(link);
        verdict_sent_again(true);
        return 0;
    }
    if (orders[0].fill > 0) {
        (void)usleep(chance_below(&speaker->chance, SLOW_READER_US));
    }
    bool closes = false;
    size_t heard = 0;
    bool goes_on = true;
    while (heard < count && goes_on) {
        goes_on = hear(speaker, link, &orders[heard++], way, &closes);
    }
    verdict_time(begun);
    if (closes) {
        link_close(link);
        return heard;
    }
    for (; heard < count; heard++) { /* the server has taken them, and does not say that it will not answer */
        verdict_count(link->state == LINK_LATE ? VERDICT_LATE : VERDICT_LOST, &orders[heard], way, "",
                      "behind one that was not answered whole");
    }
    if (!goes_on) {
        link_close(link);
    }
    return count;
}

void dialog_http(struct speaker *speaker, struct link *link, const struct order *orders, size_t count, const char *way)
{
    size_t done = 0;
    for (int attempts = 0; done < count && attempts < ATTEMPTS_MAX; attempts++) {
        size_t more = exchange(speaker, link, orders + done, count - done, way);
        for (size_t i = done + more; more > 0 && i < count; i++) {
            verdict_sent_again(false);
        }
        done += more;
    }
    for (; done < count; done++) {
        verdict_count(VERDICT_LOST, &orders[done], way, "", "closed before it could be sent, again and again");
    }
}
