/*
 * A connection's slot: its place on the scoreboard and its entry in the fdstore, as the worker sees them.
 *
 * Whatever the moment of a death, the supervisor finds each connection in the state it was in:
 *
 *   accept -> slot_enter, slot_store -> slot_claim -> read -> slot_run -> slot_leave -> send -> close -> slot_vacate
 *   unread    WAITING                   READING               RUNNING     REPLYING             \          FREE
 *                ^                                                                      slot_renew
 *                +--- or READING, where a part of the next request is here already --------+
 *
 * A state says what is about to be done. Between it and the next one it is the kernel that says how far that has come:
 * whether a byte was read (scoreboard_first), and how much was sent (outlet.h).
 *
 * Everywhere here `slot` may be NO_SLOT, as it always is without a scoreboard: then nothing is noted, and nothing
 * refused.
 */
#ifndef ASYA_SERVER_SLOT_H
#define ASYA_SERVER_SLOT_H

#include "server/fdstore.h"
#include "server/scoreboard.h"
#include "server/tampered.h"
#include "wire/protocol.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define NO_SLOT UINT32_MAX

/* All slots of one worker. */
struct slots {
    struct scoreboard *board;        /* NULL: nobody watches, and there are no slots; borrowed */
    struct fdstore *fdstore;         /* NULL: nothing is stored; borrowed */
    const struct tampered *tampered; /* borrowed */
    int control;                     /* where the supervisor is told to watch, or -1 */
    uint32_t free_count;
    uint32_t free[SLOTS_MAX]; /* the last one is taken next */
};

/* All are free, the lowest are taken first. */
void slots_reset(struct slots *slots);

/* There is one for a further connection. */
static inline bool slots_have_room(const struct slots *slots) { return slots->board == NULL || slots->free_count > 0; }

/* The next connection would have a slot, but no entry in the fdstore: more should be made. */
static inline bool slots_are_short(const struct slots *slots)
{
    return slots->fdstore != NULL && slots->fdstore->count < SLOTS_MAX &&
           (slots->free_count == 0 || slots->free[slots->free_count - 1] >= slots->fdstore->count);
}

/* Takes a free slot for the connection with number `fd`; state WAITING, and a duplicate in the fdstore. `kept`: a
 * request was answered on it before. Returns as slot_store(). */
int slot_enter(struct slots *slots, int fd, enum protocol protocol, bool kept, uint32_t *ret_slot);

/* Puts a duplicate into the fdstore, if there is an entry for it. Returns 0, or -errno: then the connection is served
 * all the same, and survives the worker with the fdholder's help, but not the function closing its descriptor. */
int slot_store(const struct slots *slots, uint32_t slot, int fd);

bool slot_is_stored(const struct slots *slots, uint32_t slot);

/* After the connection is closed: slot and entry are free. In this order a connection in the table that has no slot is
 * one nobody has read from. */
void slot_vacate(struct slots *slots, uint32_t slot);

/* Before the first byte of a request is read, and before an unread connection is answered: false if the supervisor has
 * taken it back meanwhile. */
bool slot_claim(const struct slots *slots, uint32_t slot);

/* Before the connection is closed: false if that is not the end for its client, since the supervisor has taken it back,
 * or has answered. */
bool slot_end(const struct slots *slots, uint32_t slot);

void slot_set(const struct slots *slots, uint32_t slot, enum slot_state state);

/* Reads as recv() without waiting. `first`: nothing of the request has been read yet. Into the scoreboard's scratch
 * buffer the kernel then writes the first byte where the supervisor sees it: that it was taken, and on a new connection
 * the protocol, with it the form of a reply, is known even if the process comes to nothing more. */
ssize_t slot_receive(const struct slots *slots, uint32_t slot, int fd, bool first, unsigned char *bytes, size_t size);

/* The client's protocol is known: the form in which the supervisor would answer. */
void slot_set_protocol(const struct slots *slots, uint32_t slot, enum protocol protocol);

/* A request was answered and another may follow: READING if `first`, its first byte, is here already, else WAITING. */
void slot_renew(const struct slots *slots, uint32_t slot, const unsigned char *first);

/* A reply of our own begins: REPLYING. */
void slot_reply(const struct slots *slots, uint32_t slot);

/* The function is called now for request number `sequence`: RUNNING. Returns the slot for the request, or NULL. */
struct scoreboard_slot *slot_run(const struct slots *slots, uint32_t slot, uint64_t sequence);

/* From RUNNING or STREAMING to `state`, REPLYING or PUSHING. False if the supervisor has answered or ended it in the
 * meantime: then nothing may be sent. */
bool slot_leave(const struct slots *slots, uint32_t slot, enum slot_state state);

/* How a stream begins: its client knows chunks, or does not. */
void slot_set_chunked(const struct slots *slots, uint32_t slot, bool chunked);

/* The supervisor has answered the request, or ended its stream. */
bool slot_is_answered(const struct slots *slots, uint32_t slot);

#endif
