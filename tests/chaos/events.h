/* The events of a stream, judged. */
#ifndef ASYA_CHAOS_EVENTS_H
#define ASYA_CHAOS_EVENTS_H

#include "response.h"
#include "verdict.h"

/* Of a response in chunks, which came to its last one if it is `whole`: all its events are this order's, in order, and
 * done comes last. `text` has less than LINK_ROOM bytes and a NUL. `*ret_worker` is the process that sent them; 0 if
 * none came. */
enum verdict events_judge(const struct order *order, const char *text, size_t size, bool whole, bool shared,
                          int *ret_worker);

#endif
