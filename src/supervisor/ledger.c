#include "supervisor/ledger.h"

#include "base/clock.h"

static struct ledger ledger;

static struct ledger *ledger_open(void)
{
    if (ledger.base.head != TALLY_GUARD) {
        tally_reset(&ledger.base);
    }
    return &ledger;
}

const struct ledger *ledger_read(void) { return ledger_open(); }

const char *ledger_exit_name(enum ledger_exit ending)
{
    static const char *const names[] = {[ENDED_SIGNAL] = "signal",
                                        [ENDED_EXIT] = "exit",
                                        [ENDED_TIMEOUT] = "timeout",
                                        [ENDED_MEMORY] = "out_of_memory",
                                        [ENDED_OVERWRITE] = "memory_overwritten",
                                        [ENDED_LOST] = "lost",
                                        [ENDED_START_FAILED] = "start_failed",
                                        [ENDED_START_TIMEOUT] = "start_timeout",
                                        [ENDED_REPLACED] = "replaced",
                                        [ENDED_STOPPED] = "stopped"};
    return names[ending];
}

/* Times on a scoreboard may be the function's: what cannot be is replaced by now. Its stages are not known. */
static void ledger_count(enum protocol protocol, uint32_t row, uint64_t began)
{
    struct tally *base = &ledger_open()->base;
    uint64_t now = clock_now();
    struct tally_request request = {.began = began != 0 && began <= now ? began : now, .pending = row + 1};
    tally_count(base, protocol, &request, now, TALLY_NO_SLOT, NULL);
    if (request.began > base->last_request) {
        base->last_request = request.began;
    }
}

void ledger_note_answer(enum protocol protocol, const struct error *err, uint64_t began)
{
    ledger_count(protocol, tally_row(&ledger_open()->base, err->category, view_of(err->type)), began);
}

void ledger_note_row(const struct tally *tally, uint32_t row, enum protocol protocol, uint64_t began)
{
    if (row >= TALLY_ROWS) {
        return; /* the function wrote over it */
    }
    struct tally_row known = tally->rows[row];
    known.type[TALLY_TYPE_SIZE - 1] = '\0';
    ledger_count(protocol, tally_row(&ledger_open()->base, (enum error_category)known.category, view_of(known.type)),
                 began);
}

void ledger_note_sent(uint64_t bytes) { tally_add(&ledger_open()->base.counts.sent, bytes); }

void ledger_note_exit(enum ledger_exit ending, int signal)
{
    ledger.exits[ending]++;
    if (ending == ENDED_SIGNAL && signal > 0 && signal < LEDGER_SIGNALS) {
        ledger.signals[signal]++;
    }
}

void ledger_note_start(uint64_t span) { tally_time(&ledger.starts, span); }

void ledger_note_cancel(uint32_t reason)
{
    if (reason < LEDGER_REASONS) {
        ledger.cancelled[reason]++;
    }
}

void ledger_absorb(const struct tally *tally, struct tally *seen)
{
    (void)tally_take(tally, seen);
    tally_merge(&ledger_open()->base, seen);
    tally_reset(seen);
}
