/* Settings given as flags: `--workers 2` is ASYA_WORKERS=2. The names come from the table of base/options.c. */
#ifndef ASYA_APP_FLAGS_H
#define ASYA_APP_FLAGS_H

#include "base/error.h"

#include <stdbool.h>

/* Puts each `--name VALUE` or `--name=VALUE` into the environment, where options_load() finds it; a flag wins over the
 * variable. The value of a switch may be omitted: then it is true. One word that is not a flag names the function, if
 * `takes_handler`; `-h` and `--help` are left to the caller. Values are checked by options_load(). False with
 * ERR_SERVER and a text that names the nearest flag. To be called before options_load(). */
bool flags_take(int count, const char *const *arguments, bool takes_handler, struct error *err);

/* The flag whose name is most similar to `argument`, into `target`; "" if none is near. */
void flags_nearest(const char *argument, char *target, size_t size);

#endif
