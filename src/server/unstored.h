/*
 * Answers the connections that only this process's table of descriptors has, on behalf of a worker that ends or is
 * dead: nobody else can. Two do this: a worker whose fdholder cannot be asked any more (tampered.h), and an fdholder
 * that cannot give its connections to the supervisor.
 */
#ifndef ASYA_SERVER_UNSTORED_H
#define ASYA_SERVER_UNSTORED_H

#include "server/scoreboard.h"
#include "server/table.h"
#include "wire/protocol.h"

struct unstored {
    struct scoreboard *board;   /* the worker's, on whose tally these requests are counted */
    struct table_name listener; /* the name that its connections have */
    enum protocol protocol;     /* ASYA_PROTOCOL */
    const char *unread;         /* server_error: the request was not run */
    const char *running;        /* WorkerCrashed: the function ran */
};

/* Answers those that expect a reply and have not had a byte of it, and closes all. Those that are stored are left to
 * the supervisor. Uses system calls and the stack alone. */
void unstored_answer(const struct unstored *about);

#endif
