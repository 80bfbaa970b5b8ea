#include "python/call.h"

#include <stdlib.h>

void call_make(struct call *call, const struct runner *runner, struct binding *binding, const struct request *request,
               struct reply *reply)
{
    *call = (struct call){.runner = runner,
                          .binding = binding,
                          .conn = request->conn,
                          .slot = request->slot,
                          .sequence = request->sequence,
                          .protocol = request->protocol,
                          .message = request->message,
                          .size = request->size,
                          .transport = {.id = request->id, .traceparent = request->traceparent},
                          .reply = reply,
                          .failure = &binding->failure};
    reply->status = 200;
    reply->succeeded = true;
}

/* Copies what the call only borrows from its request. */
static bool call_keep_names(struct call *call)
{
    struct log_request *transport = &call->transport;
    size_t size = transport->id.size + transport->traceparent.size;
    call->names = size > 0 ? malloc(size) : NULL;
    if (call->names == NULL) {
        return size == 0;
    }
    char *traceparent = call->names + transport->id.size;
    if (transport->id.size > 0) {
        memcpy(call->names, transport->id.data, transport->id.size);
    }
    if (transport->traceparent.size > 0) {
        memcpy(traceparent, transport->traceparent.data, transport->traceparent.size);
    }
    transport->id.data = call->names;
    transport->traceparent.data = traceparent;
    return true;
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
