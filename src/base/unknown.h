/*
 * Warnings about variables that begin with ASYA_ and that nothing reads: otherwise a misspelt setting would silently
 * have no effect.
 */
#ifndef ASYA_BASE_UNKNOWN_H
#define ASYA_BASE_UNKNOWN_H

#include <stdbool.h>
#include <stddef.h>

enum { UNKNOWN_NAME_MAX = 64 }; /* longest name that is compared and shown, in bytes */

/* Whether `name` is a known variable of another part of the pod, such as the sidecar or the gateway
 * (docs/configuration.md lists them). Pure. */
bool unknown_is_foreign(const char *name);

/* How many letters to insert, remove or change to turn one name into the other (Levenshtein distance). SIZE_MAX for
 * names longer than UNKNOWN_NAME_MAX. Pure. */
size_t unknown_distance(const char *a, const char *b);

/* Logs one WARNING for each variable of the environment that begins with ASYA_ and is neither a setting nor foreign,
 * and names a setting with a similar name if there is one. Values are never logged. */
void unknown_warn(void);

#endif
