/* What somebody probably meant who wrote something else than JSON (RFC 8259), for the text of an error. */
#ifndef ASYA_JSON_HINT_H
#define ASYA_JSON_HINT_H

#include "base/error.h"

#include <stddef.h>

/* `at` is the index of the byte that cannot stand where it does, in `size` bytes of text. A sentence without an end, or
 * NULL. Nothing of the text is in it. */
const char *hint_for(const unsigned char *text, size_t size, size_t at);

/* Says that byte: one text for whoever reads JSON, so that the same message is refused in the same words. */
void hint_unexpected(struct error *err, const unsigned char *text, size_t size, size_t at);

#endif
