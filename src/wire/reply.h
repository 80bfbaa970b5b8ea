/*
 * Replies of the bare-JSON protocol, as bytes (wire contract, section 1).
 *
 *   {"status":"ok","result":X}
 *   {"error":CODE,"message":TEXT}    and "type":CLASS for processing_error only
 *
 * Pure but for the growth of the buffer, whose limit bounds it.
 */
#ifndef ASYA_WIRE_REPLY_H
#define ASYA_WIRE_REPLY_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/view.h"

enum { REPLY_TEXT_MAX = 8192 }; /* bytes of TEXT before escaping */

/* Opens a success reply; the caller appends the JSON of the result, then calls reply_success_end. */
enum buffer_status reply_success_begin(struct buffer *out);
enum buffer_status reply_success_end(struct buffer *out);

/* Replaces the content of `out` by an error reply. `text` is cut to REPLY_TEXT_MAX at a character's border, and what is
 * not UTF-8 in it is replaced. `type` is used for ERR_PROCESSING alone. */
enum buffer_status reply_error(struct buffer *out, enum error_category category, struct view text, struct view type);

/* A reply that needs no memory, for when there is none: static storage. */
struct view reply_out_of_memory(void);

#endif
