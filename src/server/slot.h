/*
 * A connection's slot on the scoreboard and its entry in the fdstore, as the worker uses them.
 *
 * The worker sets a slot's state before it does the next thing with the connection, so that the supervisor can answer
 * for it at whatever moment the worker dies:
 *
 *   accept -> slot_enter, slot_store -> slot_claim -> read -> slot_run -> slot_leave -> send -> close -> slot_vacate
 *   unread    WAITING                   READING               RUNNING     REPLYING             \          FREE
 *                ^                                                                      slot_renew
 *                +--- or READING, where a part of the next request is here already --------+
 *
 * A state says what the worker is about to do. How far it has come with that is written by the kernel, as part of the
 * system call: whether a byte was read (scoreboard_first) and how much was sent (outlet.h).
 *
 * The supervisor changes a state only from WAITING to TAKEN, and from RUNNING, STREAMING or an overwritten state to
 * ANSWERED. The worker leaves them by compare-and-exchange (slot_claim, slot_leave), so that only one side reads,
 * answers or sends; it stores all other states.
 *
 * `slot` may be NO_SLOT in all functions, as it always is without a scoreboard: then they note nothing and allow
 * everything.
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
    struct scoreboard *board;        /* NULL: nobody watches, and no connection has a slot; borrowed */
    struct fdstore *fdstore;         /* NULL: nothing is stored; borrowed */
    const struct tampered *tampered; /* borrowed */
    int control;                     /* the control channel, to tell the supervisor to watch; or -1 */
    uint32_t free_count;
    uint32_t free[SLOTS_MAX]; /* a stack: the last one is taken next */
};

/* Makes all slots free; the lowest are taken first. */
void slots_reset(struct slots *slots);

/* A slot is free for one more connection. */
static inline bool slots_have_room(const struct slots *slots) { return slots->board == NULL || slots->free_count > 0; }

/* The next connection would get a slot without an entry in the fdstore: more entries should be made. */
static inline bool slots_are_short(const struct slots *slots)
{
    return slots->fdstore != NULL && slots->fdstore->count < SLOTS_MAX &&
           (slots->free_count == 0 || slots->free[slots->free_count - 1] >= slots->fdstore->count);
}

/* Takes a free slot for the connection `fd`: its state is WAITING, and a duplicate is stored if possible. `kept`: a
 * request was answered on this connection before. Returns as slot_store() does. */
int slot_enter(struct slots *slots, int fd, enum protocol protocol, bool kept, uint32_t *ret_slot);

/* Puts a duplicate into the slot's entry of the fdstore, if it has one. Returns 0, or -errno: the connection is served
 * all the same. If the worker then dies, the connection is still found by the fdholder; if the function closes its
 * descriptor, it is lost. */
int slot_store(const struct slots *slots, uint32_t slot, int fd);

bool slot_is_stored(const struct slots *slots, uint32_t slot);

/* To be called after the connection was closed: frees slot and entry. Because the close comes first, a connection that
 * is found in the worker's table without a slot is one that nobody has read from. */
void slot_vacate(struct slots *slots, uint32_t slot);

/* To be called before the first byte of a request is read, and before an unread connection is answered: WAITING becomes
 * READING. False if the supervisor has taken the connection in the meantime. */
bool slot_claim(const struct slots *slots, uint32_t slot);

/* To be called before the connection is closed. False if the close does not end it for its client, because the
 * supervisor has taken the connection or has answered on it. */
bool slot_end(const struct slots *slots, uint32_t slot);

void slot_set(const struct slots *slots, uint32_t slot, enum slot_state state);

/* Reads as recv() does, without waiting. `first`: no byte of the request has been read yet. If `bytes` is the
 * scoreboard's scratch buffer, the kernel writes the first byte where the supervisor can see it. So the supervisor
 * knows that a byte was read, and on a new connection it knows the protocol to answer in, even if the worker is killed
 * before its next instruction. */
ssize_t slot_receive(const struct slots *slots, uint32_t slot, int fd, bool first, unsigned char *bytes, size_t size);

/* The client's protocol is known now: the supervisor would answer in it. */
void slot_set_protocol(const struct slots *slots, uint32_t slot, enum protocol protocol);

/* A request was answered and another may follow: READING if its first byte `first` has arrived already, else
 * WAITING. False if the supervisor has taken the connection in the meantime, as it does when the process was stopped.
 */
bool slot_renew(const struct slots *slots, uint32_t slot, const unsigned char *first);

/* The worker begins a reply without calling the function: REPLYING. */
void slot_reply(const struct slots *slots, uint32_t slot);

/* The function is about to be called for request number `sequence`, at `now`: RUNNING. Returns the slot, or NULL. */
struct scoreboard_slot *slot_run(const struct slots *slots, uint32_t slot, uint64_t sequence, uint64_t now);

/* Moves from RUNNING or STREAMING to `state`, which is REPLYING or PUSHING. False if the supervisor has answered the
 * request or ended the stream in the meantime: then nothing may be sent. */
bool slot_leave(const struct slots *slots, uint32_t slot, enum slot_state state);

/* A stream begins; its client understands chunked encoding, or does not. */
void slot_set_chunked(const struct slots *slots, uint32_t slot, bool chunked);

/* The supervisor has answered the request, or ended its stream. */
bool slot_is_answered(const struct slots *slots, uint32_t slot);

#endif
