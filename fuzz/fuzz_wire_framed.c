/* framed: a message is whole at the byte its length says, or refused with its length, in memory of exactly what has
 * arrived; and a length written is the length read. */
#include "wire/framed.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void check(size_t limit, const unsigned char *data, size_t arrived, size_t length)
{
    unsigned char *copy = malloc(arrived > 0 ? arrived : 1);
    memcpy(copy, data, arrived);
    struct view body = {NULL, 0};
    struct error err = {0};
    enum wire_step expected = arrived < FRAMED_PREFIX_SIZE            ? WIRE_MORE
                              : length > limit                        ? WIRE_BAD
                              : arrived - FRAMED_PREFIX_SIZE < length ? WIRE_MORE
                                                                      : WIRE_DONE;
    if (framed_feed(limit, copy, arrived, &body, &err) != expected) {
        abort();
    }
    if (expected == WIRE_DONE && (body.size != length || memcmp(body.data, data + FRAMED_PREFIX_SIZE, length) != 0)) {
        abort();
    }
    if (expected == WIRE_MORE) {
        framed_end(copy, arrived, &err);
    }
    if (expected != WIRE_DONE && err.text[0] == '\0') {
        abort();
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    size_t limit = data[0] < 128 ? (size_t)data[0] : (size_t)1 << (data[0] - 128) % 40;
    data++;
    size--;
    size_t length = 0;
    for (size_t i = 0; i < FRAMED_PREFIX_SIZE && i < size; i++) {
        length = length << 8 | data[i];
    }
    for (size_t arrived = 0; arrived <= size; arrived += arrived < 16 ? 1 : size > arrived + 64 ? 64 : 1) {
        check(limit, data, arrived, length);
    }
    unsigned char prefix[FRAMED_PREFIX_SIZE];
    framed_prefix(prefix, (uint32_t)length);
    if (size >= FRAMED_PREFIX_SIZE && memcmp(prefix, data, FRAMED_PREFIX_SIZE) != 0) {
        abort();
    }
    return 0;
}
