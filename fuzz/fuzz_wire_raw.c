/* raw: a request ends at the same byte, or is refused for the same reason, however it was cut; and what ends is bounded
 * by the limit. */
#include "wire/raw.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

struct verdict {
    enum wire_step step;
    enum error_category category;
    size_t at; /* how many bytes had arrived; for a bad byte its place */
};

/* Feeds all that has arrived, `chunk` bytes more each time, in memory of exactly that size; then the end. */
static struct verdict feed(const unsigned char *data, size_t size, size_t chunk, size_t limit)
{
    struct raw raw = raw_make(limit);
    struct error err = {0};
    for (size_t arrived = chunk < size ? chunk : size;; arrived = size - arrived < chunk ? size : arrived + chunk) {
        unsigned char *copy = malloc(arrived + 1);
        memcpy(copy, data, arrived);
        copy = realloc(copy, arrived > 0 ? arrived : 1);
        enum wire_step step = raw_feed(&raw, copy, arrived, &err);
        if (step == WIRE_MORE && arrived == size) {
            step = raw_end(&raw, copy, arrived, &err);
        }
        free(copy);
        if (step == WIRE_BAD && err.text[0] == '\0') {
            abort();
        }
        if (step != WIRE_MORE) {
            return (struct verdict){step, step == WIRE_BAD ? err.category : ERR_NONE, arrived};
        }
        if (arrived == size) {
            abort(); /* the end must decide */
        }
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t chunk = (size_t)1 + data[0];
    size_t limit = data[1] < 128 ? (size_t)1 << 20 : (size_t)data[1] - 127;
    data += 2;
    size -= 2;
    struct verdict bytewise = feed(data, size, 1, limit);
    struct verdict chunked = feed(data, size, chunk, limit);
    struct verdict whole = feed(data, size, size > 0 ? size : 1, limit);
    /* a value that was complete before the limit is a value however much came with it, or it is too large with it */
    if (bytewise.step == WIRE_DONE && (chunked.category == ERR_TOO_LARGE || whole.category == ERR_TOO_LARGE)) {
        return size > limit ? 0 : (abort(), 0);
    }
    if (bytewise.step != chunked.step || bytewise.step != whole.step || bytewise.category != chunked.category ||
        bytewise.category != whole.category || bytewise.at > chunked.at || chunked.at > whole.at) {
        abort();
    }
    return 0;
}
