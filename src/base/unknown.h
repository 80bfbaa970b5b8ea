/*
 * Variables that begin with ASYA_ and that nobody reads: a misspelt setting has no effect, and should not be silent.
 */
#ifndef ASYA_BASE_UNKNOWN_H
#define ASYA_BASE_UNKNOWN_H

#include <stdbool.h>
#include <stddef.h>

enum { UNKNOWN_NAME_MAX = 64 }; /* bytes of a name that are looked at and shown */

/* Whether `name` belongs to another part of the pod (the sidecar, the gateway ...): known, and not ours
 * (docs/configuration.md lists them). Pure. */
bool unknown_is_foreign(const char *name);

/* How many letters must be put in, left out or changed to make one name of the other (Levenshtein's distance); names
 * longer than UNKNOWN_NAME_MAX are far from everything. Pure. */
size_t unknown_distance(const char *a, const char *b);

/* Logs one WARNING for each variable of the environment that begins with ASYA_ and is neither a setting nor foreign,
 * with the nearest setting if one is near. Values are never shown. */
void unknown_warn(void);

#endif
