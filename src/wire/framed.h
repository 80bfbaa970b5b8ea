/*
 * Length prefix (docs/protocol.md): four bytes, big-endian, then that many bytes of JSON; one exchange per connection.
 * Pure, no allocation, no state: it is given all that has arrived.
 */
#ifndef ASYA_WIRE_FRAMED_H
#define ASYA_WIRE_FRAMED_H

#include "base/error.h"
#include "base/view.h"
#include "wire/step.h"

#include <stdint.h>

enum { FRAMED_PREFIX_SIZE = 4 };

/* `message` is all that has arrived. On WIRE_DONE `*ret_body` is the JSON in it, without the prefix (it may be empty);
 * bytes after it are ignored. On WIRE_BAD `err` is ERR_TOO_LARGE: the prefix announces more than `limit` bytes
 * (ASYA_MAX_MESSAGE_SIZE), which is known before any of them has arrived. */
enum wire_step framed_feed(size_t limit, const unsigned char *message, size_t size, struct view *ret_body,
                           struct error *err);

/* The client sends no more although framed_feed returned WIRE_MORE: fills `err`, with ERR_EMPTY if there was no byte at
 * all, else with ERR_CONNECTION. */
void framed_end(const unsigned char *message, size_t size, struct error *err);

/* Writes the prefix of a reply of `size` bytes. */
void framed_prefix(unsigned char target[FRAMED_PREFIX_SIZE], uint32_t size);

#endif
