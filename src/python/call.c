#include "python/call.h"

#include <stdlib.h>

void call_make(struct call *call, const struct runner *runner, struct binding *binding, const struct request *request,
               struct reply *reply)
{
    *call = (struct call){
        .runner = runner,
        .binding = binding,
        .conn = request->conn,
        .slot = request->slot,
        .sequence = request->sequence,
        .protocol = request->protocol,
        .message = request->message,
        .size = request->size,
        .transport = {.id = request->id, .traceparent = request->traceparent, .tracestate = request->tracestate},
        .reply = reply,
        .failure = &binding->failure};
    reply->status = 200;
    reply->succeeded = true;
}

/* Copies what the call only borrows from its request. */
static bool call_keep_names(struct call *call)
{
    struct view *names[] = {&call->transport.id, &call->transport.traceparent, &call->transport.tracestate};
    size_t size = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size += names[i]->size;
    }
    call->names = size > 0 ? malloc(size) : NULL;
    char *next = call->names;
    for (size_t i = 0; next != NULL && i < sizeof names / sizeof *names; i++) {
        if (names[i]->size > 0) {
            names[i]->data = memcpy(next, names[i]->data, names[i]->size);
            next += names[i]->size;
        }
    }
    return call->names != NULL || size == 0;
}

bool call_keep(struct call *call, struct call *kept)
{
    *kept = *call;
    if (!call_keep_names(kept)) {
        return false;
    }
    kept->own = *call->reply;
    kept->reply = &kept->own;
    call->reply->body = buffer_make(call->reply->body.limit);
    call->envelope = (struct envelope){0};
    call->handle = NULL;
    call->span = NULL;
    exchange_set_data(kept->conn, kept);
    return true;
}

void *call_keep_request(size_t size, const struct runner *runner, struct binding *binding,
                        const struct request *request, size_t limit)
{
    struct reply reply = {.body = buffer_make(limit)};
    struct call call;
    call_make(&call, runner, binding, request, &reply);
    unsigned char *memory = malloc(size + request->size);
    if (memory == NULL) {
        return NULL;
    }
    memset(memory, 0, size);
    struct call *kept = (struct call *)(void *)memory;
    if (!call_keep(&call, kept)) {
        free(memory);
        return NULL;
    }
    kept->message = memcpy(memory + size, request->message, request->size);
    return memory;
}

void call_send(struct call *call)
{
    exchange_set_data(call->conn, NULL);
    if (call->streaming) {
        exchange_stream_end(call->conn, !call->gone);
        buffer_done(&call->own.body);
    } else {
        exchange_reply(call->conn, &call->own);
    }
    call_free(call);
}

void call_free(struct call *call)
{
    free(call->names);
    free(call);
}
