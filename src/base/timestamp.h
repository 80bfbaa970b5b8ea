/* Points in time as text: RFC 3339, as in 2026-11-29T22:11:42.5Z. Pure. */
#ifndef ASYA_BASE_TIMESTAMP_H
#define ASYA_BASE_TIMESTAMP_H

#include "base/view.h"

#include <stdbool.h>
#include <stdint.h>

/* Nanoseconds since 1970 in UTC. False if `text` is none (section 5.6 of the RFC), or is before 1970 or behind 2200. A
 * leap second counts as the first of the next minute. */
bool timestamp_parse(struct view text, uint64_t *ret_ns);

#endif
