#include "wire/http1_chunked.h"

#include "wire/http1_bytes.h"

#include <stdbool.h>
#include <string.h>

/*
 *   SIZE --CR--> SIZE_LF --LF--> DATA -> DATA_CR -> DATA_LF -> SIZE
 *     |  ^CR        |
 *    ';' |          +-- size was 0 --> TRAILER --CR--> END_LF -> (done)
 *     v  |                             |     ^
 *   EXTENSION                         name   +---------- TRAILER_LF
 *                                      v                     ^CR
 *                                   TRAILER_NAME --':'--> TRAILER_VALUE
 */
enum state {
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
};

enum { DIGITS_MAX = 16 }; /* of a 64-bit size */

struct http1_chunked http1_chunked_make(size_t limit) { return (struct http1_chunked){.limit = limit, .state = SIZE}; }

static enum wire_step chunked_bad(const struct http1_chunked *chunked, const char *text, struct http1_error *err)
{
    return http1_refuse(err, 400, chunked->seen, text);
}

static int hex_value(unsigned char byte)
{
    unsigned char lower = byte | 0x20;
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static enum wire_step chunked_go(struct http1_chunked *chunked, enum state state)
{
    chunked->state = (uint8_t)state;
    return WIRE_MORE;
}

static enum wire_step feed_size(struct http1_chunked *chunked, unsigned char byte, struct http1_error *err)
{
    int value = hex_value(byte);
    if (value >= 0) {
        if (chunked->digits == DIGITS_MAX) {
            return chunked_bad(chunked, "a chunk's size has more than 16 digits", err);
        }
        chunked->digits++;
        chunked->left = chunked->left << 4 | (uint64_t)value;
        return WIRE_MORE;
    }
    if (chunked->digits > 0 && byte == ';') {
        return chunked_go(chunked, EXTENSION);
    }
    if (chunked->digits > 0 && byte == '\r') {
        return chunked_go(chunked, SIZE_LF);
    }
    return chunked_bad(chunked, "a chunk's size is not hexadecimal digits alone", err);
}

static enum wire_step feed_extension(struct http1_chunked *chunked, unsigned char byte, struct http1_error *err)
{
    if (byte == '\r') {
        return chunked_go(chunked, SIZE_LF);
    }
    if (!http1_byte_is(byte, HTTP1_TEXT)) {
        return chunked_bad(chunked, "a control character in a chunk's extension", err);
    }
    if (++chunked->extension_bytes > HTTP1_EXTENSIONS_MAX) {
        return chunked_bad(chunked, "the extensions of the chunks are larger than 4096 bytes", err);
    }
    return WIRE_MORE;
}

static enum wire_step feed_size_lf(struct http1_chunked *chunked, unsigned char byte, struct http1_error *err)
{
    if (byte != '\n') {
        return chunked_bad(chunked, "a chunk's size is followed by CR without LF", err);
    }
    chunked->digits = 0;
    if (chunked->left == 0) {
        return chunked_go(chunked, TRAILER);
    }
    if (chunked->left > chunked->limit - chunked->size) {
        return http1_refuse(err, 413, chunked->seen, "the body is larger than ASYA_MAX_MESSAGE_SIZE");
    }
    return chunked_go(chunked, DATA);
}

static enum wire_step feed_trailer(struct http1_chunked *chunked, unsigned char byte, struct http1_error *err)
{
    bool is_token = http1_byte_is(byte, HTTP1_TOKEN);
    if (chunked->state == TRAILER && byte == '\r') {
        return chunked_go(chunked, END_LF);
    }
    if (++chunked->trailer_bytes > HTTP1_TRAILERS_MAX) {
        return chunked_bad(chunked, "the trailer fields are larger than 4096 bytes", err);
    }
    switch ((enum state)chunked->state) {
    case TRAILER:
        return is_token ? chunked_go(chunked, TRAILER_NAME)
                        : chunked_bad(chunked, "a trailer field without a name", err);
    case TRAILER_NAME:
        if (byte == ':') {
            return chunked_go(chunked, TRAILER_VALUE);
        }
        return is_token ? WIRE_MORE : chunked_bad(chunked, "a trailer line is not a name and a colon", err);
    case TRAILER_VALUE:
    default:
        if (byte == '\r') {
            return chunked_go(chunked, TRAILER_LF);
        }
        return http1_byte_is(byte, HTTP1_TEXT) ? WIRE_MORE
                                               : chunked_bad(chunked, "a control character in a trailer", err);
    }
}

/* One byte that is not content. */
static enum wire_step feed_byte(struct http1_chunked *chunked, unsigned char byte, struct http1_error *err)
{
    switch ((enum state)chunked->state) {
    case SIZE:
        return feed_size(chunked, byte, err);
    case EXTENSION:
        return feed_extension(chunked, byte, err);
    case SIZE_LF:
        return feed_size_lf(chunked, byte, err);
    case DATA_CR:
        return byte == '\r' ? chunked_go(chunked, DATA_LF)
                            : chunked_bad(chunked, "a chunk is longer than its size", err);
    case DATA_LF:
        return byte == '\n' ? chunked_go(chunked, SIZE)
                            : chunked_bad(chunked, "a chunk is followed by CR without LF", err);
    case TRAILER_LF:
        return byte == '\n' ? chunked_go(chunked, TRAILER)
                            : chunked_bad(chunked, "a trailer line ends with CR without LF", err);
    case END_LF:
        return byte == '\n' ? WIRE_DONE : chunked_bad(chunked, "the body ends with CR without LF", err);
    case TRAILER:
    case TRAILER_NAME:
    case TRAILER_VALUE:
    case DATA:
        break;
    }
    return feed_trailer(chunked, byte, err);
}

/* Moves the content of the chunk that has arrived up to the end of what was decoded before. Returns how many bytes. */
static size_t take_content(struct http1_chunked *chunked, unsigned char *body, size_t at, size_t end)
{
    size_t taken = chunked->left < end - at ? (size_t)chunked->left : end - at;
    memmove(body + chunked->size, body + at, taken);
    chunked->size += taken;
    chunked->left -= taken;
    if (chunked->left == 0) {
        chunked_go(chunked, DATA_CR);
    }
    return taken;
}

enum wire_step http1_chunked_feed(struct http1_chunked *chunked, unsigned char *body, size_t *size,
                                  struct http1_error *err)
{
    size_t at = chunked->size;
    enum wire_step step = WIRE_MORE;
    while (at < *size && step == WIRE_MORE) {
        size_t taken = 1;
        if (chunked->state == DATA) {
            taken = take_content(chunked, body, at, *size);
        } else {
            step = feed_byte(chunked, body[at], err);
        }
        at += taken;
        chunked->seen += taken;
    }
    if (step != WIRE_BAD) {
        size_t rest = *size - at;
        memmove(body + chunked->size, body + at, rest);
        *size = chunked->size + rest;
    }
    return step;
}
