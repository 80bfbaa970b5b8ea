/*
 * A small HTTP server inside the supervisor's loop, for the people and programs that look after the runtime: the
 * control socket, and the same over TCP (docs/operating.md). It knows no routes: answer() gets each request.
 *
 * Nothing here waits for a client. There are DESK_CLIENTS places. When all are taken, a new client gets the place of
 * the one that has been idle longest, or else of the one that has taken longest to send its request: so slow and silent
 * clients harm only each other. Each step has a deadline:
 *
 *   READING   a request arrives: DESK_READ_TIME from the connection, or from its first byte on one that is kept alive;
 *             between two requests DESK_IDLE_TIME
 *   PENDING   the reply comes later, by desk_reply(); the code that answers is responsible for the time
 *   WRITING   the reply waits for the client: DESK_WRITE_TIME
 *   DRAINING  the request was refused before all of it had come: the rest is discarded for DESK_DRAIN_TIME, so that the
 *             client gets to read why
 *
 * A request, head and body, has at most DESK_REQUEST_SIZE bytes, and lies in an array of its client's. Memory is
 * allocated for a reply only, up to DESK_REPLY_LIMIT, and freed once it is sent. Over TCP there is only GET, and HEAD.
 */
#ifndef ASYA_SERVER_DESK_H
#define ASYA_SERVER_DESK_H

#include "base/buffer.h"
#include "base/view.h"
#include "server/listener.h"
#include "wire/http1_request.h"
#include "wire/http1_response.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    DESK_CLIENTS = 8,
    DESK_REQUEST_SIZE = 8192,   /* bytes */
    DESK_BODY_MAX = 1024,       /* bytes of them in the body */
    DESK_REPLY_LIMIT = 4 << 20, /* bytes of a reply's body */
};

#define DESK_READ_TIME  (5 * CLOCK_SECOND)
#define DESK_IDLE_TIME  (60 * CLOCK_SECOND)
#define DESK_WRITE_TIME (10 * CLOCK_SECOND)
#define DESK_DRAIN_TIME (1 * CLOCK_SECOND)

/* Where a request came from. */
enum desk_door { DESK_CONTROL, DESK_PORT, DESK_DOORS };

/* Names a request whose reply comes later. */
struct desk_ticket {
    uint32_t client;
    uint64_t number;
};

/* One whole request. All is borrowed until answer() returns. */
struct desk_request {
    enum desk_door door;
    enum http1_method method;
    struct view path; /* without the query */
    struct view head; /* all of it, for fields that the parser does not know */
    struct view body;
    struct desk_ticket ticket;
};

struct desk_reply {
    unsigned status;
    const char *type;  /* of the content; NULL: JSON. Static storage. Further lines of the head may follow it */
    const char *allow; /* of a 405, else NULL. Static storage */
    struct buffer body;
};

enum desk_state { DESK_FREE, DESK_READING, DESK_PENDING, DESK_WRITING, DESK_DRAINING };

struct desk_client {
    enum desk_state state;
    enum desk_door door;
    int fd; /* -1 while FREE */
    bool keep_alive;
    bool is_head;    /* the method is HEAD: the reply has no body */
    bool is_refused; /* the rest of its request is not read */
    bool is_invited; /* it was told to go on and send its body */
    uint64_t number; /* of its request; no two have the same */
    uint64_t since;  /* when it came into its state, or its request began */
    uint64_t deadline;
    struct http1_request request;
    bool has_head;
    size_t got; /* bytes in `in` */
    size_t sent;
    size_t head_size;
    struct buffer out;
    char head[HTTP1_RESPONSE_SIZE];
    unsigned char in[DESK_REQUEST_SIZE];
};

struct desk {
    int epoll;             /* readable when something is to be done; -1: there is no desk */
    int doors[DESK_DOORS]; /* listening sockets: that of a listener, borrowed, and the port, owned; -1: closed */
    uint64_t opens_at[DESK_DOORS]; /* when to accept again after descriptors or memory ran out; 0: it accepts */
    uint64_t numbers;
    void *context;
    /* Fills `reply`, whose body is empty and has a limit, and returns true; or returns false: the reply comes later. A
     * body that is cut for want of memory is its business. */
    bool (*answer)(void *context, const struct desk_request *request, struct desk_reply *reply);
    struct desk_client clients[DESK_CLIENTS];
};

/* A desk that does nothing: of zeroed memory. */
void desk_init(struct desk *desk);

/* Makes a desk that does not listen anywhere yet. Returns 0 or -errno. */
int desk_open(struct desk *desk);

/* Accepts from this listening socket from now on; -1: no more. Returns 0 or -errno. */
int desk_set_door(struct desk *desk, enum desk_door door, int listener);

/* Handles what has come. To be called when desk->epoll is readable. */
void desk_turn(struct desk *desk);

/* Does what is due; returns when to call it again. */
uint64_t desk_tend(struct desk *desk, uint64_t now);

/* Sends a reply that was to come later, and frees its body. Nothing else happens if the client is gone. */
void desk_reply(struct desk *desk, struct desk_ticket ticket, struct desk_reply *reply);

/* Whether somebody still waits for that reply. */
bool desk_is_waiting(const struct desk *desk, struct desk_ticket ticket);

/* Closes all clients, the port and the desk itself. In a forked worker desk_forget() does the same, and leaves the
 * clients' connections alone: they are the supervisor's. */
void desk_close(struct desk *desk);
void desk_forget(struct desk *desk);

#endif
