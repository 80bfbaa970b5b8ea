#include "wire/raw.h"

#include "json/hint.h"
#include "json/utf8.h"

enum wire_step raw_feed(struct raw *raw, const unsigned char *message, size_t size, struct error *err)
{
    if (size > raw->limit) {
        error_set(err, ERR_TOO_LARGE, raw->limit, "message is larger than %zu bytes (ASYA_MAX_MESSAGE_SIZE)",
                  raw->limit);
        return WIRE_BAD;
    }
    size_t end = 0;
    size_t start = raw->seen;
    raw->seen = size;
    if (raw->done) {
        return WIRE_DONE;
    }
    if (raw->bad) {
        return WIRE_MORE;
    }
    switch (scan_feed(&raw->scan, message + start, size - start, &end)) {
    case SCAN_MORE:
        return WIRE_MORE;
    case SCAN_DONE:
        raw->done = true;
        return WIRE_DONE;
    case SCAN_BAD:
        break;
    }
    raw->bad = true;
    raw->bad_at = start + end;
    return WIRE_MORE;
}

enum wire_step raw_end(const struct raw *raw, const unsigned char *message, size_t size, struct error *err)
{
    if (raw->bad) {
        size_t valid = utf8_valid_prefix(message, size);
        if (valid < size) {
            error_set(err, ERR_ENCODING, valid, "the message is not UTF-8 at byte %zu", valid);
        } else {
            hint_unexpected(err, message, size, raw->bad_at);
        }
        return WIRE_BAD;
    }
    if (scan_is_blank(&raw->scan)) {
        error_set(err, ERR_EMPTY, 0, size == 0 ? "no message" : "the message is only white space");
        return WIRE_BAD;
    }
    return WIRE_DONE;
}

bool raw_is_number(const struct raw *raw) { return !raw->done && !raw->bad && scan_is_number(&raw->scan); }
