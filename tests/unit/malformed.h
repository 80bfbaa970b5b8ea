/* The requests of tests/data/http_malformed.py, which the build turns into a C table. */
#ifndef ASYA_TESTS_MALFORMED_H
#define ASYA_TESTS_MALFORMED_H

#include <stddef.h>

struct malformed {
    const char *name;
    unsigned status; /* of the reply */
    size_t size;
    const unsigned char *bytes;
};

extern const struct malformed malformed_rows[];
extern const size_t malformed_count;
extern const size_t malformed_limit; /* bytes a body may have */

#endif
