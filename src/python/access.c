#include "python/access.h"

#include "base/clock.h"
#include "base/log.h"

#define SAMPLE 100 /* one in so many, and every request that fails */

static enum access_log access_mode = ACCESS_OFF;

void access_install(enum access_log mode) { access_mode = mode; }

static const char *access_protocol(enum protocol protocol)
{
    return protocol == PROTOCOL_HTTP ? "http" : protocol == PROTOCOL_FRAMED ? "framed" : "raw";
}

static void access_write(const struct call *call)
{
    const struct reply *reply = call->reply;
    uint64_t since = call->slot != NULL ? atomic_load_explicit(&call->slot->since, memory_order_relaxed) : 0;
    uint64_t now = clock_now();
    const char *category = reply->succeeded ? NULL : error_code(call->failure->category);
    const struct log_facts facts = {.request = envelope_about(&call->envelope, &call->transport),
                                    .category = category,
                                    .error_type = reply->succeeded ? NULL : call->failure->type,
                                    .duration = since != 0 && since < now ? now - since : 0,
                                    .protocol = access_protocol(call->protocol),
                                    .received = call->size,
                                    .sent = call->streaming ? call->streamed : reply->body.size};
    log_event(LOG_LEVEL_INFO, EVENT_REQUEST_FINISHED, &facts, "%s %s, %llu us, %llu bytes in, %llu out", facts.protocol,
              category != NULL ? category : "ok", (unsigned long long)(facts.duration / 1000),
              (unsigned long long)facts.received, (unsigned long long)facts.sent);
}

void access_note(const struct call *call)
{
    if (access_mode == ACCESS_ALL ||
        (access_mode == ACCESS_SAMPLED && (!call->reply->succeeded || call->sequence % SAMPLE == 1))) {
        access_write(call);
    }
}
