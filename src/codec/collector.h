/*
 * Holds CPython's cyclic collector off while many new objects are made: it would walk all of them over and over, and
 * can find nothing, since none is garbage yet. Needs the GIL.
 */
#ifndef ASYA_CODEC_COLLECTOR_H
#define ASYA_CODEC_COLLECTOR_H

#include <stdbool.h>

/* Switches the collector off. True if it was on: then it is the caller's to resume. Never fails; at worst the
 * collector stays on. */
bool collector_pause(void);
void collector_resume(void);

#endif
