/*
 * Which requests a worker has, by its scoreboard: how many, and what their clients call them, for lines of the log.
 * The scoreboard is the worker's to write: states are compared, names are bounded here and escaped by the log.
 */
#ifndef ASYA_SUPERVISOR_RUNNING_H
#define ASYA_SUPERVISOR_RUNNING_H

#include "base/log.h"
#include "server/scoreboard.h"

#include <stdint.h>

enum {
    RUNNING_NAMES = 8,
    RUNNING_TEXT_SIZE = RUNNING_NAMES * (SCOREBOARD_ID_MAX + 2) + 32,
    HOLDUP_TEXT_SIZE = SCOREBOARD_TEXT_SIZE + 64,
};

struct running {
    uint32_t count;   /* requests in the function, or whose reply is on its way */
    uint32_t partial; /* requests that have arrived in part */
    uint32_t named;
    char names[RUNNING_NAMES][SCOREBOARD_ID_MAX + 1]; /* of the first that have one, NUL-terminated */
};

/* What a request that has place `slot` on the scoreboard is called; "" if it has no name. */
void running_name(const struct scoreboard *board, uint32_t slot, char name[SCOREBOARD_ID_MAX + 1]);

/* Adds those of one page. */
void running_add(struct running *running, const struct scoreboard *board);

/* Whom a line is about: the request, if it is one and has a name. Borrows from `running`. */
struct log_request running_about(const struct running *running);

/* The names of several, as " (order-1, order-2, 3 more)"; "" for one, which running_about names, or for none. */
void running_describe(const struct running *running, char text[RUNNING_TEXT_SIZE]);

/* What keeps a worker that is to end, as a verb phrase: its requests, or what it has noted itself. */
void running_describe_holdup(const struct scoreboard *board, char text[HOLDUP_TEXT_SIZE]);

#endif
