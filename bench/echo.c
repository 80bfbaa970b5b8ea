/*
 * The floor of the socket path: an echo on the runtime's own server layer, without JSON objects and without Python.
 *
 *   asya-echo SOCKET            serves until SIGTERM
 *   asya-echo --fdstore SOCKET     the same with fdstore entries, a scoreboard and an fdholder, as a worker has them,
 * to measure what these cost
 */
#include "base/clock.h"
#include "base/exits.h"
#include "server/control.h"
#include "server/fdholder.h"
#include "server/listener.h"
#include "server/server.h"
#include "wire/reply.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLOTS = 64 };

static int control_end = -1; /* SIGTERM drains through it */

static void on_term(int number)
{
    (void)number;
    (void)control_send(control_end, CONTROL_DRAIN, NULL, 0);
}

static enum service_status echo(void *context, const struct request *request, struct reply *reply)
{
    (void)context;
    struct buffer *body = &reply->body;
    reply->succeeded = reply_success_begin(body) == BUFFER_OK &&
                       buffer_append(body, request->message, request->size) == BUFFER_OK &&
                       reply_success_end(body) == BUFFER_OK;
    if (!reply->succeeded) {
        body->size = 0;
    }
    return SERVICE_DONE;
}

int main(int count, char **arguments)
{
    bool fdstore = count == 3 && strcmp(arguments[1], "--fdstore") == 0;
    if (count != 2 && !fdstore) {
        (void)fprintf(stderr, "usage: asya-echo [--fdstore] SOCKET\n");
        return EXIT_OPTION;
    }
    struct listener listener;
    struct error err;
    int code = listener_open(&listener, &LISTENER_WISH(arguments[count - 1], 0600), &err);
    if (code != EXIT_OK) {
        (void)fprintf(stderr, "asya-echo: %s\n", err.text);
        return code;
    }
    int control = -1;
    if (control_pair(&control_end, &control) != 0 || listener_publish(&listener) != 0) {
        (void)fprintf(stderr, "asya-echo: cannot start\n");
        return EXIT_INTERNAL;
    }
    (void)signal(SIGTERM, on_term);
    static struct fdstore slots;
    struct scoreboard *status = NULL;
    int fdholder[2] = {-1, -1};
    if (fdstore) {
        status = mmap(NULL, sizeof *status, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (status == MAP_FAILED || fdstore_grow(&slots, SLOTS) != 0 || control_pair(&fdholder[0], &fdholder[1]) != 0 ||
            fdholder_start(fdholder[1], listener.fd, NULL, PROTOCOL_AUTO) != 0) {
            (void)fprintf(stderr, "asya-echo: cannot make slots, scoreboard or fdholder\n");
            return EXIT_INTERNAL;
        }
        scoreboard_reset(status);
    }
    struct server_config config = {.listener = listener.fd,
                                   .control = control,
                                   .max_message = (size_t)64 << 20,
                                   .read_timeout = 30 * CLOCK_SECOND,
                                   .keepalive_timeout = 120 * CLOCK_SECOND,
                                   .write_timeout = 30 * CLOCK_SECOND,
                                   .service = {.answer = echo},
                                   .board = status,
                                   .fdstore = fdstore ? &slots : NULL};
    bool served = server_run(&config, &err);
    if (!served) {
        (void)fprintf(stderr, "asya-echo: %s\n", err.text);
    }
    listener_close(&listener);
    fdstore_done(&slots);
    if (fdstore) {
        (void)control_send(fdholder[0], CONTROL_COLLECT, NULL, 0); /* the fdholder ends */
    }
    return served ? EXIT_OK : EXIT_INTERNAL;
}
