/*
 * Processes that dead workers leave behind in their process groups (browsers, ffmpeg, resource trackers). They get
 * SIGTERM, a second to clean up, then SIGKILL. Neither the next worker nor the supervisor's loop waits for that.
 *
 * A group is named by the pid of its dead leader. The kernel does not reuse that number while the group has members.
 * Empty groups are forgotten within 50 ms, and so is a number that a new worker gets, so a process that happens to get
 * the number later is not signalled.
 */
#ifndef ASYA_SUPERVISOR_REMAINS_H
#define ASYA_SUPERVISOR_REMAINS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { REMAINS_MAX = 64 }; /* groups at once; for one more the oldest is killed */

struct remains {
    uint32_t count;
    struct remains_group {
        pid_t number;
        uint64_t kill_at;
    } groups[REMAINS_MAX]; /* oldest first */
};

/* Before the dead leader is reaped: SIGTERM to all members. */
void remains_terminate(pid_t group);

/* After that: members that are left have until `kill_at`. */
void remains_add(struct remains *remains, pid_t group, uint64_t kill_at);

/* All are killed at the next remains_tend(). */
void remains_hurry(struct remains *remains);

/* A new worker has this number: it does not name a dead worker's group any more. */
void remains_forget(struct remains *remains, pid_t group);

/* Kills groups whose time is over, forgets empty ones. Returns when to call it again. */
uint64_t remains_tend(struct remains *remains, uint64_t now);

#endif
