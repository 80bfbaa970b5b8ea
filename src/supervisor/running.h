/*
 * Which requests a worker has, by its scoreboard: how many, and their ids, for the log. The function can write to the
 * scoreboard, so states are checked and ids are bounded here; the log escapes them.
 */
#ifndef ASYA_SUPERVISOR_RUNNING_H
#define ASYA_SUPERVISOR_RUNNING_H

#include "base/log.h"
#include "server/record.h"
#include "server/scoreboard.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    RUNNING_NAMES = 8,
    RUNNING_TEXT_SIZE = RUNNING_NAMES * (SCOREBOARD_ID_MAX + 2) + 32,
    HOLDUP_TEXT_SIZE = SCOREBOARD_TEXT_SIZE + 64,
};

struct running {
    uint32_t count;       /* requests in the function, or whose reply is being sent */
    uint32_t partial;     /* requests that have arrived in part */
    uint32_t sending;     /* of `count`, those whose function has returned, and whose reply goes out */
    struct record record; /* the file of one of them */
    uint32_t named;
    char names[RUNNING_NAMES][SCOREBOARD_ID_MAX + 1]; /* ids of the first requests that have one, NUL-terminated */
};

/* The id of the request in slot `slot`; "" if it has none. */
void running_name(const struct scoreboard *board, uint32_t slot, char name[SCOREBOARD_ID_MAX + 1]);

/* Likewise its traceparent. */
void running_trace(const struct scoreboard *board, uint32_t slot, char trace[SCOREBOARD_TRACE_SIZE + 1]);

/* The slot of the only request whose function runs, or SLOTS_MAX. */
uint32_t running_alone(const struct scoreboard *board);

/* Adds the requests on one scoreboard. */
void running_add(struct running *running, const struct scoreboard *board);

/* A request has begun to arrive, runs, or is being answered. */
bool running_is_any(const struct scoreboard *board);

/* It holds a connection, with or without a request. */
bool running_holds_any(const struct scoreboard *board);

/* Which request a log line is about: the only one, if it has an id. Borrows from `running`. */
struct log_request running_about(const struct running *running);

/* The ids of several requests, as " (order-1, order-2, 3 more)". "" for none, or for one, which running_about names. */
void running_describe(const struct running *running, char text[RUNNING_TEXT_SIZE]);

/* Why a worker that is to end has not ended, as a verb phrase: its requests, or what it has noted on the scoreboard. */
void running_describe_holdup(const struct scoreboard *board, char text[HOLDUP_TEXT_SIZE]);

#endif
