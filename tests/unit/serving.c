#include "serving.h"

#include "base/clock.h"
#include "base/fd.h"
#include "server/control.h"
#include "wire/reply.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static void die(const char *what)
{
    perror(what);
    abort();
}

static bool is(const struct request *request, const char *word)
{
    char quoted[32];
    int size = snprintf(quoted, sizeof quoted, "\"%s", word);
    return size > 0 && request->size >= (size_t)size && memcmp(request->message, quoted, (size_t)size) == 0;
}

static bool echo(const void *bytes, size_t size, struct buffer *reply)
{
    return reply_success_begin(reply) == BUFFER_OK && buffer_append(reply, bytes, size) == BUFFER_OK &&
           reply_success_end(reply) == BUFFER_OK;
}

static bool answer_big(const struct request *request, struct buffer *reply)
{
    char digits[16] = "";
    size_t size = request->size - 5 < sizeof digits ? request->size - 5 : sizeof digits - 1;
    memcpy(digits, request->message + 5, size);
    size_t wanted = (size_t)atol(digits);
    if (buffer_reserve(reply, wanted) != BUFFER_OK) {
        return false;
    }
    memset(reply->data, 'x', wanted);
    reply->size = wanted;
    return true;
}

static bool compute(void *context, const struct request *request, struct buffer *reply)
{
    struct serving *serving = context;
    atomic_fetch_add(&serving->answers, 1);
    if (is(request, "big ")) {
        return answer_big(request, reply);
    }
    if (is(request, "nothing")) {
        return false;
    }
    if (is(request, "fail")) {
        (void)!reply_error(reply, ERR_PROCESSING, view_of("it failed"), view_of("Failure"));
        return false;
    }
    if (is(request, "wait")) {
        atomic_store(&serving->waiting, true);
        while (!atomic_load(&serving->released)) {
            usleep(500);
        }
    }
    if (is(request, "taken") && request->slot != NULL) {
        (void)slot_move(request->slot, SLOT_RUNNING, SLOT_ANSWERED);
    }
    if (!echo(request->message, request->size, reply)) {
        reply->size = 0;
        return false;
    }
    return true;
}

static enum service_status keep(struct serving *serving, const struct request *request)
{
    uint32_t number = atomic_load(&serving->held_count);
    if (number == PENDING_MAX) {
        die("serving: too many exchanges are held");
    }
    struct pending_call *held = &serving->held[number];
    *held = (struct pending_call){request->conn, request->slot, request->sequence, request->size, ""};
    memcpy(held->message, request->message, request->size < HELD_BYTES ? request->size : HELD_BYTES);
    atomic_store(&serving->held_count, number + 1);
    return SERVICE_LATER;
}

static enum service_status answer(void *context, const struct request *request, struct reply *reply)
{
    struct serving *serving = context;
    if (is(request, "hook")) {
        return serving->hook(serving, request, reply);
    }
    if (is(request, "later")) {
        return keep(serving, request);
    }
    if (is(request, "none")) {
        reply->status = 204;
        reply->succeeded = true;
        return SERVICE_DONE;
    }
    reply->succeeded = compute(serving, request, &reply->body);
    reply->status = reply->succeeded ? 200 : 500;
    return SERVICE_DONE;
}

static void collect(void *context)
{
    struct serving *serving = context;
    serving_act *act = atomic_exchange(&serving->act, NULL);
    if (act != NULL) {
        act(serving, serving->argument);
        sem_post(&serving->acted);
    }
}

static void resume(void *context, struct conn *conn)
{
    struct serving *serving = context;
    atomic_fetch_add(&serving->resumed, 1);
    if (serving->on_resume != NULL) {
        serving->on_resume(serving, conn);
    }
}

struct serving *serving_make(uint32_t slots)
{
    struct serving *serving = calloc(1, sizeof *serving);
    if (serving == NULL) {
        die("serving: calloc");
    }
    (void)sem_init(&serving->opened, 0, 0);
    (void)sem_init(&serving->acted, 0, 0);
    folder_make(serving->folder);
    (void)snprintf(serving->path, sizeof serving->path, "%s/app.sock", serving->folder);
    struct error err;
    if (listener_open(&serving->listener, &LISTENER_WISH(serving->path, 0600), &err) != 0 ||
        listener_publish(&serving->listener) != 0 || control_pair(&serving->control, &serving->worker_control) != 0 ||
        control_pair(&serving->queue, &serving->worker_queue) != 0 || fdstore_grow(&serving->fdstore, slots) != 0) {
        die("serving");
    }
    scoreboard_reset(&serving->board);
    serving->board.watched = SCOREBOARD_WATCHED; /* else it would be asked for, among what the tests wait for */
    serving->config =
        (struct server_config){.listener = serving->listener.fd,
                               .control = serving->worker_control,
                               .queue = serving->worker_queue,
                               .max_message = (size_t)1 << 20,
                               .read_timeout = 10 * CLOCK_SECOND,
                               .keepalive_timeout = 40 * CLOCK_SECOND,
                               .write_timeout = 10 * CLOCK_SECOND,
                               .concurrency = 1,
                               .service = {.context = serving, .answer = answer, .collect = collect, .resume = resume},
                               .board = slots > 0 ? &serving->board : NULL,
                               .fdstore = slots > 0 ? &serving->fdstore : NULL};
    return serving;
}

static void *run(void *context)
{
    struct serving *serving = context;
    serving->server = server_open(&serving->config, &serving->err);
    serving->served = serving->server != NULL;
    sem_post(&serving->opened);
    while (serving->served && server_turn(serving->server, true)) {
    }
    if (serving->served) {
        server_close(serving->server);
    }
    return NULL;
}

void serving_start(struct serving *serving)
{
    if (pthread_create(&serving->thread, NULL, run, serving) != 0) {
        die("serving: pthread_create");
    }
    while (sem_wait(&serving->opened) != 0) {
    }
}

void serving_await(const struct serving *serving)
{
    while (!atomic_load(&serving->waiting)) {
        usleep(500);
    }
}

void serving_release(struct serving *serving) { atomic_store(&serving->released, true); }

/* At most the five seconds that a test waits for anything. */
static void await(const char *what, bool (*is_so)(const struct serving *serving, uint32_t a, uint32_t b),
                  const struct serving *serving, uint32_t a, uint32_t b)
{
    for (int i = 0; i < 10000 && !is_so(serving, a, b); i++) {
        usleep(500);
    }
    if (!is_so(serving, a, b)) {
        (void)fprintf(stderr, "%s: %u, %u\n", what, a, b);
        abort();
    }
}

static bool are_held(const struct serving *serving, uint32_t count, uint32_t unused)
{
    (void)unused;
    return atomic_load(&serving->held_count) >= count;
}

void serving_await_held(const struct serving *serving, uint32_t count)
{
    await("serving: an exchange is not there", are_held, serving, count, 0);
}

static bool is_in_state(const struct serving *serving, uint32_t slot, uint32_t state)
{
    return (uint32_t)slot_state(&serving->board.slots[slot]) == state;
}

void serving_await_slot(const struct serving *serving, uint32_t slot, enum slot_state wanted)
{
    await("serving: a slot is not in the state it should have", is_in_state, serving, slot, wanted);
}

void serving_do(struct serving *serving, serving_act *act, void *argument)
{
    serving->argument = argument;
    atomic_store(&serving->act, act);
    server_wake(serving->server);
    while (sem_wait(&serving->acted) != 0) {
    }
}

static void complete(struct serving *serving, void *argument)
{
    const struct pending_call *held = argument;
    struct reply reply = {.body = buffer_make((size_t)1 << 20), .status = 200};
    reply.succeeded = echo(held->message, held->size < HELD_BYTES ? held->size : HELD_BYTES, &reply.body);
    (void)serving;
    exchange_reply(held->conn, &reply);
}

void serving_complete(struct serving *serving, uint32_t number)
{
    serving_do(serving, complete, &serving->held[number]);
}

bool serving_join(struct serving *serving)
{
    pthread_join(serving->thread, NULL);
    return serving->served;
}

void serving_free(struct serving *serving)
{
    listener_close(&serving->listener);
    fd_close(&serving->control);
    fd_close(&serving->worker_control);
    fd_close(&serving->queue);
    fd_close(&serving->worker_queue);
    fdstore_done(&serving->fdstore);
    folder_remove(serving->folder);
    (void)sem_destroy(&serving->opened);
    (void)sem_destroy(&serving->acted);
    free(serving);
}

bool serving_finish(struct serving *serving)
{
    bool served = serving_join(serving);
    serving_free(serving);
    return served;
}

bool serving_stop(struct serving *serving)
{
    (void)control_send(serving->control, CONTROL_DRAIN, NULL, 0);
    return serving_finish(serving);
}

int caller_make(void)
{
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = 5};
    if (client < 0 || setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0) {
        die("caller_make");
    }
    return client;
}

void caller_dial(const struct serving *serving, int client)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, serving->path, strlen(serving->path));
    if (connect(client, (const struct sockaddr *)&address, sizeof address) != 0) {
        die("caller_dial");
    }
}

int caller_connect(const struct serving *serving)
{
    int client = caller_make();
    caller_dial(serving, client);
    return client;
}

bool caller_send(int client, const void *bytes, size_t size)
{
    const char *next = bytes;
    while (size > 0) {
        ssize_t sent = send(client, next, size, MSG_NOSIGNAL);
        if (sent < 0) {
            return false;
        }
        next += sent;
        size -= (size_t)sent;
    }
    return true;
}

bool caller_send_bytewise(int client, const void *bytes, size_t size)
{
    const char *next = bytes;
    for (size_t i = 0; i < size; i++) {
        if (!caller_send(client, next + i, 1)) {
            return false;
        }
        sched_yield();
    }
    return true;
}

size_t caller_read(int client, char *reply, size_t room)
{
    size_t size = 0;
    ssize_t got;
    while (size + 1 < room && (got = recv(client, reply + size, room - 1 - size, 0)) != 0) {
        if (got < 0) {
            reply[size] = '\0';
            return (size_t)-1;
        }
        size += (size_t)got;
    }
    reply[size] = '\0';
    return size;
}

size_t caller_exchange(const struct serving *serving, const char *message, bool half_close, char *reply, size_t room)
{
    int client = caller_connect(serving);
    (void)caller_send(client, message, strlen(message));
    if (half_close) {
        shutdown(client, SHUT_WR);
    }
    size_t size = caller_read(client, reply, room);
    close(client);
    return size;
}
