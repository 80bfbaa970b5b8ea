/*
 * What dead workers leave: the processes of their groups (browsers, ffmpeg, resource trackers). As a program that ends
 * in order would have it, they get SIGTERM and a second to clean up, then SIGKILL; nobody waits for that: neither the
 * next worker nor the supervisor's loop.
 *
 * A group is named by the number its leader had. The kernel gives that to nobody else as long as a member is left, and
 * a group is forgotten as soon as none is, which is looked for every 50 ms: a number that comes round in that time, or
 * that a worker of ours has, is not signalled.
 */
#ifndef ASYA_SUPERVISOR_REMAINS_H
#define ASYA_SUPERVISOR_REMAINS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { REMAINS_MAX = 64 }; /* groups at once; for one more, the oldest has had its time */

struct remains {
    uint32_t count;
    struct remains_group {
        pid_t number;
        uint64_t kill_at;
    } groups[REMAINS_MAX]; /* oldest first */
};

/* While its dead leader is not reaped: asks all members to end. */
void remains_terminate(pid_t group);

/* Once it is: if anybody is left, he has until `kill_at`. */
void remains_add(struct remains *remains, pid_t group, uint64_t kill_at);

/* All have no time any more. */
void remains_hurry(struct remains *remains);

/* A process of ours has got this number: it is no group of the dead. */
void remains_forget(struct remains *remains, pid_t group);

/* Kills what is due, forgets who has ended. Returns when it is to be called again. */
uint64_t remains_tend(struct remains *remains, uint64_t now);

#endif
