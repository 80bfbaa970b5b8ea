/*
 * Replies as bytes (docs/protocol.md).
 *
 *   bare JSON       {"status":"ok","result":X}
 *                   {"error":CODE,"message":TEXT}    and "type":CLASS for processing_error only
 *   length prefix   [{"error":CODE,"details":{"message":TEXT,"type":CLASS,"traceback":TEXT}}]
 *   HTTP            {"error":CODE,"details":{"message":TEXT,"type":CLASS,"mro":[CLASS...],"traceback":TEXT}}
 *
 * In the latter two CODE only tells when it failed: msg_parsing_error before the function was called, processing_error
 * from then on. Their success replies are written in python/. Pure, except that the buffer grows, up to its limit.
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

/* Replaces the content of `out` by an error reply. `text` is cut to REPLY_TEXT_MAX at a character's border, and bytes
 * that are not UTF-8 are replaced. `type` is used only for ERR_PROCESSING. */
enum buffer_status reply_error(struct buffer *out, enum error_category category, struct view text, struct view type);

/* The details of a failure in the replies of the length prefix and HTTP. Bytes that are not UTF-8 are replaced. */
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

/* An error of the runtime itself, described as the exception that a runtime in Python would have met. Borrows from
 * `err`, whose category must be a valid one; the traceback is empty. */
struct reply_details reply_details_of(const struct error *err);

/* Replaces the content of `out` by a whole error reply, with its length prefix or HTTP head (which says that the
 * connection closes). PROTOCOL_AUTO is bare JSON. */
enum buffer_status reply_failure(struct buffer *out, enum protocol protocol, const struct error *err);

/* The same with an HTTP status other than the category's; 0: the category's. */
enum buffer_status reply_failure_http(struct buffer *out, enum protocol protocol, unsigned status,
                                      const struct error *err);

/* Ends a stream of events that another process began: the event `error` with `err`, the event `done`, and the end of
 * the stream. Replaces the content of `out`. */
struct reply_stream_end {
    bool error;   /* write the event `error`; false if it was sent already */
    bool done;    /* likewise */
    bool chunked; /* as http1_event_begin has it */
};
enum buffer_status reply_stream_end(struct buffer *out, struct reply_stream_end lacks, const struct error *err);

/* A complete reply for when no memory is left. Static storage. */
struct view reply_out_of_memory(enum protocol protocol);

/* Room for a failure or the end of a stream: every byte of the text escaped, and what is around it. */
enum { REPLY_FAILURE_SIZE = 6 * (ERROR_TEXT_SIZE + ERROR_TYPE_SIZE) + 512 };

#endif
