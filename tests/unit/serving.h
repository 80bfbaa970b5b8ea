/*
 * A worker's server in a thread, with a service that does as each message says, and clients that talk to it. The test
 * stands where the supervisor does: it holds the other end of the control channel.
 */
#ifndef ASYA_TESTS_SERVING_H
#define ASYA_TESTS_SERVING_H

#include "folder.h"

#include "base/error.h"
#include "server/listener.h"
#include "server/park.h"
#include "server/server.h"
#include "server/status.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * What the service answers:
 *   "big N"        a success of N bytes of 'x'
 *   "nothing"      an empty reply: no memory for any
 *   "fail"         a processing_error
 *   "wait"         an echo, after serving_release
 *   "taken"        an echo, but first it is marked as answered by the supervisor
 *   else           the message itself, as a success
 */
struct serving {
    struct server_config config; /* change it before serving_start */
    char folder[FOLDER_SIZE];
    char path[FOLDER_SIZE + 16];
    struct listener listener;
    int control; /* the supervisor's end */
    int worker_control;
    struct park park;
    struct status_page page;
    pthread_t thread;
    bool served; /* what server_run returned */
    struct error err;
    _Atomic uint32_t answers; /* calls of the service */
    _Atomic bool waiting;     /* it is in "wait" */
    _Atomic bool released;
};

/* A listener, a channel and a configuration: limit 1 MiB, timeouts of ten seconds, `slots` parking slots (0: nothing
 * is parked and there is no status page). */
struct serving *serving_make(uint32_t slots);

/* Runs the server in a thread. */
void serving_start(struct serving *serving);

/* Blocks until the service is in "wait"; lets it go on. */
void serving_await(const struct serving *serving);
void serving_release(struct serving *serving);

/* Waits for the server's end. Returns what server_run returned. */
bool serving_join(struct serving *serving);

/* Closes and frees everything, after the server's end. */
void serving_free(struct serving *serving);

/* Both; serving_stop tells the server to drain first. */
bool serving_finish(struct serving *serving);
bool serving_stop(struct serving *serving);

/* A blocking socket, a read from which gives up after five seconds; connects it; both. */
int client_make(void);
void client_dial(const struct serving *serving, int client);
int client_connect(const struct serving *serving);

/* Sends all of it, whole or in single bytes. False if the server has closed. */
bool client_send(int client, const void *bytes, size_t size);
bool client_send_bytewise(int client, const void *bytes, size_t size);

/* Reads to the end of the connection, at most `room` - 1 bytes, NUL-terminated. Returns how many, or (size_t)-1 if the
 * end did not come in time or the connection was reset. */
size_t client_read(int client, char *reply, size_t room);

/* Connects, sends `message`, half-closes if told to, reads the reply and closes. */
size_t client_exchange(const struct serving *serving, const char *message, bool half_close, char *reply, size_t room);

#endif
