/*
 * A worker's server in a thread, with a service that does as each message says, and clients that talk to it. The test
 * stands where the supervisor does: it holds the other end of the control channel.
 */
#ifndef ASYA_TESTS_SERVING_H
#define ASYA_TESTS_SERVING_H

#include "folder.h"

#include "base/error.h"
#include "server/exchange.h"
#include "server/fdstore.h"
#include "server/listener.h"
#include "server/scoreboard.h"
#include "server/server.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * What the service answers:
 *   "big N"        a success of N bytes of 'x'
 *   "nothing"      an empty reply: no memory for any
 *   "fail"         a processing_error, in HTTP with status 500
 *   "wait"         an echo, after serving_release
 *   "taken"        an echo, but first it is marked as answered by the supervisor
 *   "none"         an empty reply with status 204
 *   "later..."     nothing yet: it is held, and the test says with serving_do() what becomes of it
 *   "hook..."      what the test's own `hook` says
 *   else           the message itself, as a success
 */
enum { PENDING_MAX = 512, HELD_BYTES = 64 };

/* An exchange that is answered later. */
struct pending_call {
    struct conn *conn;
    struct scoreboard_slot *slot;
    uint64_t sequence;
    size_t size; /* of the message, of which the first HELD_BYTES are copied */
    char message[HELD_BYTES];
};

struct serving;

/* Something to be done on the server's thread. */
typedef void serving_act(struct serving *serving, void *argument);

struct serving {
    struct server_config config; /* change it before serving_start */
    char folder[FOLDER_SIZE];
    char path[FOLDER_SIZE + 16];
    struct listener listener;
    int control; /* the supervisor's end */
    int worker_control;
    int queue; /* the supervisor's end of the queue of connections handed on */
    int worker_queue;
    struct fdstore fdstore;
    struct scoreboard board;
    pthread_t thread;
    bool served; /* it had started */
    struct error err;
    _Atomic uint32_t answers; /* calls of the service */
    _Atomic bool waiting;     /* it is in "wait" */
    _Atomic bool released;
    struct server *server;
    sem_t opened;
    struct pending_call held[PENDING_MAX]; /* in the order of their calls */
    _Atomic uint32_t held_count;
    _Atomic uint32_t resumed;                                      /* calls of resume() */
    void (*on_resume)(struct serving *serving, struct conn *conn); /* may be NULL */
    enum service_status (*hook)(struct serving *serving, const struct request *request, struct reply *reply);
    serving_act *_Atomic act;
    void *argument;
    sem_t acted;
};

/* A listener, a channel and a configuration: limit 1 MiB, timeouts of ten seconds, one request at a time, `slots`
 * fdstore entries (0: nothing is stored and there is no scoreboard). */
struct serving *serving_make(uint32_t slots);

/* Runs the server in a thread. */
void serving_start(struct serving *serving);

/* Blocks until the service is in "wait"; lets it go on. */
void serving_await(const struct serving *serving);
void serving_release(struct serving *serving);

/* Waits until `count` exchanges are held; fails if they never are. */
void serving_await_held(const struct serving *serving, uint32_t count);

/* Has `act` done on the server's thread, by way of server_wake(), and waits until it is. */
void serving_do(struct serving *serving, serving_act *act, void *argument);

/* Answers a held exchange with an echo of its message. */
void serving_complete(struct serving *serving, uint32_t number);

/* Waits until a slot has this state; fails if it never has. The slot is emptied after the connection is closed: a
 * client may see the end before. */
void serving_await_slot(const struct serving *serving, uint32_t slot, enum slot_state wanted);

/* Waits for the server's end. Returns whether it had started. */
bool serving_join(struct serving *serving);

/* Closes and frees everything, after the server's end. */
void serving_free(struct serving *serving);

/* Both; serving_stop tells the server to drain first. */
bool serving_finish(struct serving *serving);
bool serving_stop(struct serving *serving);

/* A blocking socket, a read from which gives up after five seconds; connects it; both. */
int caller_make(void);
void caller_dial(const struct serving *serving, int client);
int caller_connect(const struct serving *serving);

/* Sends all of it, whole or in single bytes. False if the server has closed. */
bool caller_send(int client, const void *bytes, size_t size);
bool caller_send_bytewise(int client, const void *bytes, size_t size);

/* Reads to the end of the connection, at most `room` - 1 bytes, NUL-terminated. Returns how many, or (size_t)-1 if the
 * end did not come in time or the connection was reset. */
size_t caller_read(int client, char *reply, size_t room);

/* Connects, sends `message`, half-closes if told to, reads the reply and closes. */
size_t caller_exchange(const struct serving *serving, const char *message, bool half_close, char *reply, size_t room);

#endif
