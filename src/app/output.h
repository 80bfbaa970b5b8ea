/* Standard output of the commands. */
#ifndef ASYA_APP_OUTPUT_H
#define ASYA_APP_OUTPUT_H

#include "base/view.h"

#include <stdbool.h>

/* Writes all of it to standard output. Returns false with errno set when that cannot be done. */
bool output_write(struct view bytes);

/* As output_write for a NUL-terminated text. Ignores errors. */
void output_print(const char *text);

#endif
