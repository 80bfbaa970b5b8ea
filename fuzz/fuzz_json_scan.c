/* scan: the same answer for a text whole, byte by byte, and cut where the first byte says. */
#include "json/scan.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* The answer for the text in chunks, each in memory of exactly its size. */
static enum scan_step feed(const unsigned char *data, size_t size, size_t chunk, size_t *ret_end)
{
    struct scan scan = scan_make();
    enum scan_step step = SCAN_MORE;
    for (size_t at = 0; at < size && step == SCAN_MORE; at += chunk) {
        size_t part = size - at < chunk ? size - at : chunk, end = 0;
        unsigned char *copy = malloc(part);
        memcpy(copy, data + at, part);
        step = scan_feed(&scan, copy, part, &end);
        free(copy);
        if (step != SCAN_MORE) {
            *ret_end = at + end;
        }
    }
    return step;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    size_t chunks[] = {size, 1, 1 + data[0]}, ends[3] = {0};
    enum scan_step steps[3];
    for (int i = 0; i < 3; i++) {
        steps[i] = feed(data + 1, size - 1, chunks[i], &ends[i]);
        if (steps[i] != steps[0] || ends[i] != ends[0]) {
            abort();
        }
    }
    return 0;
}
