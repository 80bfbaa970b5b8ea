/*
 * What became of each order, counted over all clients. Each order gets one verdict and no second; what belongs to no
 * order is counted apart. Safe in threads.
 */
#ifndef ASYA_CHAOS_VERDICT_H
#define ASYA_CHAOS_VERDICT_H

#include "order.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum verdict {
    VERDICT_OK,           /* its own result */
    VERDICT_ERROR,        /* an error that can follow from what goes on */
    VERDICT_CUT,          /* a stream or a long reply whose worker died: right as far as it came, and no last chunk */
    VERDICT_DISCONNECTED, /* this client hung up */
    VERDICT_LOST,         /* the end of the connection, and not a byte */
    VERDICT_DUPLICATED,   /* a second reply behind the first */
    VERDICT_MISPAIRED,    /* the result of another order */
    VERDICT_WRONG,        /* no reply that is allowed */
    VERDICT_TRUNCATED,    /* a part of a reply that goes out in one piece */
    VERDICT_RESET,        /* whole, but a reset instead of the end of the connection */
    VERDICT_LATE,         /* nothing within PATIENCE_S, or no end of the connection */
    VERDICTS
};

/* Judges a reply that is not the order's own result: an error that can follow, or what is wrong with it. `shared`:
 * several requests run in one worker, so that each may suffer what another does. */
enum verdict verdict_of_other(const struct order *order, enum form form, const char *reply, size_t size, bool shared);

/* Judges a whole reply, which ends with a NUL. */
enum verdict verdict_of(const struct order *order, enum form form, const char *reply, size_t size, bool shared);

/* Counts it, and the cut of a long reply as verdict_cut_by() does. A bad one is shown with its reply and `reason`. */
void verdict_count(enum verdict verdict, const struct order *order, const char *way, const char *reply,
                   const char *reason);

/* Bytes that nobody has asked for. */
void verdict_unsolicited(const char *way, const char *bytes, const char *reason);

/* A request that the rules let the client send again: its connection was closed before, or a reply before its own said
 * that the connection closes. */
void verdict_sent_again(bool was_closed);

/* A stream that was cut, by the worker that had sent events of it; 0: none of its events had come, or it is a long
 * reply, which does not tell. */
void verdict_cut_by(int worker);

/* A clock, and how long it took since it said `begun`: of an exchange, from its sending to its last reply. */
uint64_t verdict_now_us(void);
void verdict_time(uint64_t begun);

/* The counts as members of a JSON object, each behind a comma. Returns how many verdicts were bad. */
uint64_t verdict_print(void);

#endif
