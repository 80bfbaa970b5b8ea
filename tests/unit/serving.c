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

static enum service_status answer(void *context, const struct request *request, struct reply *reply)
{
    reply->succeeded = compute(context, request, &reply->body);
    return SERVICE_DONE;
}

struct serving *serving_make(uint32_t slots)
{
    struct serving *serving = calloc(1, sizeof *serving);
    if (serving == NULL) {
        die("serving: calloc");
    }
    folder_make(serving->folder);
    (void)snprintf(serving->path, sizeof serving->path, "%s/app.sock", serving->folder);
    struct error err;
    if (listener_open(&serving->listener, serving->path, 0600, &err) != 0 ||
        listener_publish(&serving->listener) != 0 || control_pair(&serving->control, &serving->worker_control) != 0 ||
        park_grow(&serving->park, slots) != 0) {
        die("serving");
    }
    serving->page.watched = 1; /* else it would be asked for, among what the tests wait for */
    serving->config = (struct server_config){.listener = serving->listener.fd,
                                             .control = serving->worker_control,
                                             .max_message = (size_t)1 << 20,
                                             .read_timeout = 10 * CLOCK_SECOND,
                                             .write_timeout = 10 * CLOCK_SECOND,
                                             .service = {.context = serving, .answer = answer},
                                             .page = slots > 0 ? &serving->page : NULL,
                                             .park = slots > 0 ? &serving->park : NULL};
    return serving;
}

static void *run(void *context)
{
    struct serving *serving = context;
    serving->served = server_run(&serving->config, &serving->err);
    return NULL;
}

void serving_start(struct serving *serving)
{
    if (pthread_create(&serving->thread, NULL, run, serving) != 0) {
        die("serving: pthread_create");
    }
}

void serving_await(const struct serving *serving)
{
    while (!atomic_load(&serving->waiting)) {
        usleep(500);
    }
}

void serving_release(struct serving *serving) { atomic_store(&serving->released, true); }

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
    park_done(&serving->park);
    folder_remove(serving->folder);
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

int client_make(void)
{
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = 5};
    if (client < 0 || setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0) {
        die("client_make");
    }
    return client;
}

void client_dial(const struct serving *serving, int client)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, serving->path, strlen(serving->path));
    if (connect(client, (const struct sockaddr *)&address, sizeof address) != 0) {
        die("client_dial");
    }
}

int client_connect(const struct serving *serving)
{
    int client = client_make();
    client_dial(serving, client);
    return client;
}

bool client_send(int client, const void *bytes, size_t size)
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

bool client_send_bytewise(int client, const void *bytes, size_t size)
{
    const char *next = bytes;
    for (size_t i = 0; i < size; i++) {
        if (!client_send(client, next + i, 1)) {
            return false;
        }
        sched_yield();
    }
    return true;
}

size_t client_read(int client, char *reply, size_t room)
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

size_t client_exchange(const struct serving *serving, const char *message, bool half_close, char *reply, size_t room)
{
    int client = client_connect(serving);
    (void)client_send(client, message, strlen(message));
    if (half_close) {
        shutdown(client, SHUT_WR);
    }
    size_t size = client_read(client, reply, room);
    close(client);
    return size;
}
