#include "exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define OUTCOME_TEXT(name, meaning) #name,
const char *const OUTCOME_NAMES[OUTCOME_COUNT] = {OUTCOMES(OUTCOME_TEXT)};
#undef OUTCOME_TEXT
#define OUTCOME_TEXT(name, meaning) meaning,
const char *const OUTCOME_MEANINGS[OUTCOME_COUNT] = {OUTCOMES(OUTCOME_TEXT)};
#undef OUTCOME_TEXT

/* Its first character occurs a second time only before the colon: the matcher below relies on that. */
static const char NUMBER_KEY[] = "\"load_number\":";

static bool is_space(char byte) { return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t'; }

/* The JSON of the reply begins so. */
static bool begins_with(const struct exchange *exchange, struct view prefix)
{
    size_t end = exchange->body_at + prefix.size;
    return exchange->reply_size >= end && end <= REPLY_HEAD_MAX &&
           memcmp(exchange->reply_head + exchange->body_at, prefix.data, prefix.size) == 0;
}

static void remember(struct exchange *exchange, struct view bytes)
{
    if (exchange->reply_size < REPLY_HEAD_MAX) {
        size_t room = REPLY_HEAD_MAX - exchange->reply_size;
        memcpy(exchange->reply_head + exchange->reply_size, bytes.data, bytes.size < room ? bytes.size : room);
    }
    exchange->reply_size += bytes.size;
    for (size_t i = bytes.size; i > 0; i--) {
        if (!is_space(bytes.data[i - 1])) {
            exchange->reply_last = bytes.data[i - 1];
            return;
        }
    }
}

static void number_ended(struct reply_scan *scan, uint64_t own)
{
    scan->in_number = false;
    if (scan->number == own) {
        scan->own++;
    } else {
        scan->foreign++;
    }
}

/* Finds "load_number": N anywhere, across the borders of reads. */
static void scan_number(struct reply_scan *scan, char byte, uint64_t own)
{
    if (scan->in_number) {
        if (byte >= '0' && byte <= '9') {
            scan->number = scan->number * 10 + (uint64_t)(byte - '0');
        } else if (!is_space(byte)) {
            number_ended(scan, own);
        }
        return;
    }
    if (byte == NUMBER_KEY[scan->key_matched]) {
        scan->key_matched++;
    } else {
        scan->key_matched = byte == NUMBER_KEY[0] ? 1 : 0;
    }
    if (scan->key_matched == sizeof(NUMBER_KEY) - 1) {
        scan->key_matched = 0;
        scan->in_number = true;
        scan->number = 0;
    }
}

/* Counts the values at the top level. */
static void scan_structure(struct reply_scan *scan, char byte)
{
    if (scan->in_string) {
        if (scan->escaped) {
            scan->escaped = false;
        } else if (byte == '\\') {
            scan->escaped = true;
        } else if (byte == '"') {
            scan->in_string = false;
        }
    } else if (byte == '{' || byte == '[') {
        scan->depth++;
    } else if ((byte == '}' || byte == ']') && scan->depth > 0) {
        scan->depth--;
        scan->values += scan->depth == 0;
    } else if (scan->depth == 0) {
        scan->junk = scan->junk || !is_space(byte);
    } else if (byte == '"') {
        scan->in_string = true;
    }
}

/* Raw: the JSON value alone, both ways; the reply ends with the connection. Numbered: wrapped with its number. */

static void raw_begin(struct exchange *exchange, const struct plan *plan)
{
    if (!plan->numbered) {
        return;
    }
    int size = snprintf(exchange->head, sizeof(exchange->head),
                        "{\"load_number\":%llu,\"body\":", (unsigned long long)exchange->number);
    exchange->head_size = (size_t)size;
    exchange->tail = view_of("}");
}

static enum step raw_feed(struct exchange *exchange, const struct plan *plan, struct view bytes)
{
    remember(exchange, bytes);
    if (plan->numbered) {
        for (size_t i = 0; i < bytes.size; i++) {
            scan_structure(&exchange->scan, bytes.data[i]);
            scan_number(&exchange->scan, bytes.data[i], exchange->number);
        }
    }
    return STEP_MORE;
}

static enum outcome judge_numbers(const struct exchange *exchange, const struct plan *plan)
{
    const struct reply_scan *scan = &exchange->scan;
    bool expected = begins_with(exchange, plan->expect);
    if (scan->values > 1 || scan->own > 1) {
        return OUTCOME_duplicated;
    }
    if (scan->foreign > 0) {
        return OUTCOME_mispaired;
    }
    if (scan->values == 0) {
        return OUTCOME_truncated;
    }
    if (scan->junk) {
        return OUTCOME_unexpected;
    }
    if (expected) {
        return scan->own == 1 ? OUTCOME_ok : OUTCOME_mispaired;
    }
    return begins_with(exchange, view_of("{\"error\"")) ? OUTCOME_error_reply : OUTCOME_unexpected;
}

static enum outcome raw_judge(const struct exchange *exchange, const struct plan *plan)
{
    if (exchange->reply_size == 0) {
        return OUTCOME_lost;
    }
    if (plan->numbered) {
        return judge_numbers(exchange, plan);
    }
    if (exchange->reply_last != '}' && exchange->reply_last != ']') {
        return OUTCOME_truncated;
    }
    if (begins_with(exchange, plan->expect)) {
        return OUTCOME_ok;
    }
    return begins_with(exchange, view_of("{\"error\"")) ? OUTCOME_error_reply : OUTCOME_unexpected;
}

static size_t known_part(const struct exchange *exchange)
{
    return exchange->reply_size < REPLY_HEAD_MAX ? exchange->reply_size : REPLY_HEAD_MAX;
}

static enum step step_of(const struct exchange *exchange)
{
    return exchange->reply_whole > 0 && exchange->reply_size >= exchange->reply_whole ? STEP_DONE : STEP_MORE;
}

/* A reply whose size the protocol tells. */
static enum outcome sized_judge(const struct exchange *exchange, const struct plan *plan)
{
    if (exchange->reply_size == 0) {
        return OUTCOME_lost;
    }
    if (exchange->reply_whole == 0 || exchange->reply_size < exchange->reply_whole) {
        return OUTCOME_truncated;
    }
    if (exchange->reply_size > exchange->reply_whole) {
        return OUTCOME_duplicated;
    }
    if (begins_with(exchange, plan->expect)) {
        return OUTCOME_ok;
    }
    bool error = begins_with(exchange, view_of("{\"error\"")) || begins_with(exchange, view_of("[{\"error\""));
    return error ? OUTCOME_error_reply : OUTCOME_unexpected;
}

/* Framed: four bytes of length, big-endian, then the JSON, both ways. */

enum { PREFIX_SIZE = 4 };

static void framed_begin(struct exchange *exchange, const struct plan *plan)
{
    for (int i = 0; i < PREFIX_SIZE; i++) {
        exchange->head[i] = (char)(plan->body.size >> (24 - 8 * i));
    }
    exchange->head_size = PREFIX_SIZE;
}

static enum step framed_feed(struct exchange *exchange, const struct plan *plan, struct view bytes)
{
    (void)plan;
    remember(exchange, bytes);
    if (exchange->reply_whole == 0 && exchange->reply_size >= PREFIX_SIZE) {
        size_t size = 0;
        for (int i = 0; i < PREFIX_SIZE; i++) {
            size = size << 8 | (unsigned char)exchange->reply_head[i];
        }
        exchange->body_at = PREFIX_SIZE;
        exchange->reply_whole = PREFIX_SIZE + size;
    }
    return step_of(exchange);
}

/* HTTP/1.1: a POST with a length; the reply has a length too. */

static void write_post(struct exchange *exchange, const struct plan *plan, const char *connection)
{
    int size = snprintf(exchange->head, sizeof(exchange->head),
                        "POST /invoke HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                        "Content-Length: %zu\r\n%s\r\n",
                        plan->body.size, connection);
    exchange->head_size = (size_t)size;
}

static void http_begin(struct exchange *exchange, const struct plan *plan)
{
    write_post(exchange, plan, "Connection: close\r\n");
}

static void kept_begin(struct exchange *exchange, const struct plan *plan) { write_post(exchange, plan, ""); }

/* Only what the servers measured here send: no chunks. The head must fit into what is remembered. */
static void parse_http_head(struct exchange *exchange)
{
    static const char field[] = "\r\ncontent-length:";
    size_t known = known_part(exchange);
    const char *head = exchange->reply_head;
    const char *end = memmem(head, known, "\r\n\r\n", 4);
    if (end == NULL || known < 12 || memcmp(head + 8, " 200", 4) != 0) {
        return; /* more is to come, or not a good reply: it ends with the connection or the timeout */
    }
    for (const char *at = head; at + sizeof(field) - 1 < end; at++) {
        if (strncasecmp(at, field, sizeof(field) - 1) == 0) {
            exchange->body_at = (size_t)(end + 4 - head);
            exchange->reply_whole = exchange->body_at + strtoul(at + sizeof(field) - 1, NULL, 10);
            return;
        }
    }
}

static enum step http_feed(struct exchange *exchange, const struct plan *plan, struct view bytes)
{
    (void)plan;
    remember(exchange, bytes);
    if (exchange->reply_whole == 0) {
        parse_http_head(exchange);
    }
    return step_of(exchange);
}

static const struct mode MODES[] = {
    {"raw", false, true, true, raw_begin, raw_feed, raw_judge},
    {"framed", false, false, false, framed_begin, framed_feed, sized_judge},
    {"http", false, false, false, http_begin, http_feed, sized_judge},
    {"http-kept", true, false, false, kept_begin, http_feed, sized_judge},
};

const struct mode *mode_find(const char *name)
{
    for (size_t i = 0; i < sizeof(MODES) / sizeof(MODES[0]); i++) {
        if (strcmp(MODES[i].name, name) == 0) {
            return &MODES[i];
        }
    }
    return NULL;
}

void exchange_begin(struct exchange *exchange, const struct plan *plan, uint64_t number)
{
    exchange->number = number;
    exchange->head_size = 0;
    exchange->tail = view_of("");
    exchange->reply_size = 0;
    exchange->reply_last = '\0';
    exchange->body_at = 0;
    exchange->reply_whole = 0;
    exchange->scan = (struct reply_scan){0};
    plan->mode->begin(exchange, plan);
}

size_t exchange_request_size(const struct exchange *exchange, const struct plan *plan)
{
    return exchange->head_size + plan->body.size + exchange->tail.size;
}
