/*
 * What the supervisor counts for the metrics: the requests that it has answered itself, the sums of dead workers, and
 * how workers began and ended. There is one ledger in the process.
 *
 * A request is counted by whoever answers it (server/tally.h): here, only in recover.c.
 */
#ifndef ASYA_SUPERVISOR_LEDGER_H
#define ASYA_SUPERVISOR_LEDGER_H

#include "server/tally.h"
#include "supervisor/cause.h"

#include <stdbool.h>
#include <stdint.h>

/* How a worker has ended, as the label `cause` says it: see ledger_exit_name(). */
enum ledger_exit {
    ENDED_SIGNAL,
    ENDED_EXIT,          /* with an exit status, while it served */
    ENDED_TIMEOUT,       /* a function did not stop at its time limit */
    ENDED_MEMORY,        /* the OOM killer, or a library that was refused memory */
    ENDED_OVERWRITE,     /* the function wrote over the runtime's memory */
    ENDED_LOST,          /* killed, and it does not end */
    ENDED_START_FAILED,  /* it died before it was ready */
    ENDED_START_TIMEOUT, /* it was not ready in time */
    ENDED_REPLACED,      /* as it was told */
    ENDED_STOPPED,       /* with the runtime */
    LEDGER_ENDS
};

enum { LEDGER_SIGNALS = 65, LEDGER_REASONS = 4 };

struct ledger {
    struct tally base;
    uint64_t exits[LEDGER_ENDS];
    uint64_t signals[LEDGER_SIGNALS];   /* of those by a signal, how many by which */
    struct tally_times starts;          /* from fork to ready */
    uint64_t cancelled[LEDGER_REASONS]; /* by enum cancel_reason */
};

const struct ledger *ledger_read(void);

/* The label's value. Static storage. */
const char *ledger_exit_name(enum ledger_exit ending);

/* The supervisor has answered a request, which had begun to arrive at `began` (0: unknown), with `err`. */
void ledger_note_answer(enum protocol protocol, const struct error *err, uint64_t began);

/* The reply of a worker was out, and it died before it could count that: in row `row` of its tally. */
void ledger_note_row(const struct tally *tally, uint32_t row, enum protocol protocol, uint64_t began);

void ledger_note_sent(uint64_t bytes);
void ledger_note_exit(enum ledger_exit ending, int signal);
void ledger_note_start(uint64_t span);
void ledger_note_cancel(uint32_t reason);

/* The worker is dead and its requests were dealt with: adds what it had counted, the last of it read now, and empties
 * `seen`. */
void ledger_absorb(const struct tally *tally, struct tally *seen);

#endif
