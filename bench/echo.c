/*
 * The floor of the socket path: an echo on the runtime's own server layer, without JSON objects and without Python.
 *
 *   asya-echo SOCKET            serves until SIGTERM
 *   asya-echo --park SOCKET     the same with parking slots, a status page and a keeper, as a worker has them, to
 * measure what these cost
 */
#include "base/clock.h"
#include "base/exits.h"
#include "server/control.h"
#include "server/keeper.h"
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
    bool parking = count == 3 && strcmp(arguments[1], "--park") == 0;
    if (count != 2 && !parking) {
        (void)fprintf(stderr, "usage: asya-echo [--park] SOCKET\n");
        return EXIT_OPTION;
    }
    struct listener listener;
    struct error err;
    int code = listener_open(&listener, arguments[count - 1], 0600, &err);
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
    static struct park slots;
    struct status_page *status = NULL;
    int keeper[2] = {-1, -1};
    if (parking) {
        status = mmap(NULL, sizeof *status, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (status == MAP_FAILED || park_grow(&slots, SLOTS) != 0 || control_pair(&keeper[0], &keeper[1]) != 0 ||
            keeper_start(keeper[1], listener.fd) != 0) {
            (void)fprintf(stderr, "asya-echo: cannot make slots, page or keeper\n");
            return EXIT_INTERNAL;
        }
        status_reset(status);
    }
    struct server_config config = {.listener = listener.fd,
                                   .control = control,
                                   .max_message = (size_t)64 << 20,
                                   .read_timeout = 30 * CLOCK_SECOND,
                                   .write_timeout = 30 * CLOCK_SECOND,
                                   .service = {.answer = echo},
                                   .page = status,
                                   .park = parking ? &slots : NULL};
    bool served = server_run(&config, &err);
    if (!served) {
        (void)fprintf(stderr, "asya-echo: %s\n", err.text);
    }
    listener_close(&listener);
    park_done(&slots);
    if (parking) {
        (void)control_send(keeper[0], CONTROL_COLLECT, NULL, 0); /* the keeper ends */
    }
    return served ? EXIT_OK : EXIT_INTERNAL;
}
