/* Points in time as text: RFC 3339, as in 2026-11-29T22:11:42.5Z. Pure. */
#ifndef ASYA_BASE_TIMESTAMP_H
#define ASYA_BASE_TIMESTAMP_H

#include "base/view.h"

#include <stdbool.h>
#include <stdint.h>

/* Nanoseconds since 1970 in UTC. False if `text` is none (section 5.6 of the RFC), or is before 1970 or behind 2200. A
 * leap second counts as the first of the next minute. */
bool timestamp_parse(struct view text, uint64_t *ret_ns);

enum { TIMESTAMP_SIZE = sizeof "2026-11-29T22:11:42.500Z" };

/* Writes such a point in time in UTC, with milliseconds. After 2200 it stays there. */
void timestamp_write(uint64_t ns, char target[TIMESTAMP_SIZE]);

/* What the clock of the machine says now, likewise since 1970. Not pure. */
uint64_t timestamp_now(void);

#endif
