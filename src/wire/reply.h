/*
 * Replies as bytes (docs/protocol.md).
 *
 *   bare JSON       {"status":"ok","result":X}
 *                   {"error":CODE,"message":TEXT}    and "type":CLASS for processing_error only
 *   length prefix   [{"error":CODE,"details":{"message":TEXT,"type":CLASS,"traceback":TEXT}}]
 *   HTTP            {"error":CODE,"details":{"message":TEXT,"type":CLASS,"mro":[CLASS...],"traceback":TEXT}}
 *
 * In the latter two CODE says no more than whose fault it is: msg_parsing_error before the call of the function,
 * processing_error from then on. What succeeds under them is the Python binding's. Pure but for the growth of the
 * buffer, whose limit bounds it.
 */
#ifndef ASYA_WIRE_REPLY_H
#define ASYA_WIRE_REPLY_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/view.h"
#include "wire/protocol.h"

#include <stdbool.h>

enum { REPLY_TEXT_MAX = 8192 }; /* bytes of TEXT before escaping */

/* Opens a success reply; the caller appends the JSON of the result, then calls reply_success_end. */
enum buffer_status reply_success_begin(struct buffer *out);
enum buffer_status reply_success_end(struct buffer *out);

/* Replaces the content of `out` by an error reply. `text` is cut to REPLY_TEXT_MAX at a character's border, and what is
 * not UTF-8 in it is replaced. `type` is used for ERR_PROCESSING alone. */
enum buffer_status reply_error(struct buffer *out, enum error_category category, struct view text, struct view type);

/* What the length prefix and HTTP say of a failure. Bytes that are not UTF-8 are replaced. */
struct reply_details {
    const char *code;
    struct view text;
    const char *name; /* qualified name of the exception's class */
    struct view type; /* its bare name; empty: the last part of `name` */
    struct view mro;  /* qualified names of its ancestors but BaseException and object, each with its NUL */
    struct view traceback;
};

/* Appends such an error reply, without length prefix or head. */
enum buffer_status reply_error_details(struct buffer *out, enum protocol protocol, const struct reply_details *details);

/* An error of the runtime's own in these words: as the exception that a runtime in Python would have met. Borrows from
 * `err`, whose category is a category; traceback is empty. */
struct reply_details reply_details_of(const struct error *err);

/* Replaces the content of `out` by a whole error reply, with its length prefix or HTTP head (which says that the
 * connection closes). PROTOCOL_AUTO is bare JSON. */
enum buffer_status reply_failure(struct buffer *out, enum protocol protocol, const struct error *err);

/* Likewise, with an HTTP status that the category does not tell; 0: the category's. */
enum buffer_status reply_failure_http(struct buffer *out, enum protocol protocol, unsigned status,
                                      const struct error *err);

/* What ends a stream of events in the place of whoever began it: the event `error` with `err`, the event `done`, and
 * the end. Replaces the content of `out`. */
struct reply_stream_end {
    bool error;   /* with that event; without, it was sent before */
    bool done;    /* likewise */
    bool chunked; /* as http1_event_begin has it */
};
enum buffer_status reply_stream_end(struct buffer *out, struct reply_stream_end lacks, const struct error *err);

/* A whole reply that needs no memory, for when there is none: static storage. */
struct view reply_out_of_memory(enum protocol protocol);

#endif
