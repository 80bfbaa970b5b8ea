#include "wire/raw.h"

struct raw raw_make(size_t limit) { return (struct raw){.scan = scan_make(), .limit = limit}; }

enum wire_step raw_feed(struct raw *raw, const unsigned char *message, size_t size, struct error *err)
{
    if (size > raw->limit) {
        error_set(err, ERR_TOO_LARGE, raw->limit, "message is larger than %zu bytes (ASYA_MAX_MESSAGE_SIZE)",
                  raw->limit);
        return WIRE_BAD;
    }
    size_t end = 0;
    if (raw->done) {
        raw->seen = size;
        return WIRE_DONE;
    }
    enum scan_step step = scan_feed(&raw->scan, message + raw->seen, size - raw->seen, &end);
    size_t start = raw->seen;
    raw->seen = size;
    switch (step) {
    case SCAN_MORE:
        return WIRE_MORE;
    case SCAN_DONE:
        raw->done = true;
        return WIRE_DONE;
    case SCAN_BAD:
        break;
    }
    error_set(err, ERR_JSON, start + end, "no JSON value can start with the byte 0x%02x, at byte %zu",
              message[start + end], start + end);
    return WIRE_BAD;
}

enum wire_step raw_end(const struct raw *raw, struct error *err)
{
    if (scan_is_blank(&raw->scan)) {
        error_set(err, ERR_EMPTY, 0, raw->seen == 0 ? "no message" : "the message is only white space");
        return WIRE_BAD;
    }
    return WIRE_DONE;
}
