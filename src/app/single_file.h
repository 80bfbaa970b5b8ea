/*
 * The file this program was started from, as tools/bundle.py has built it: its bytes, and the images in it.
 */
#ifndef ASYA_APP_SINGLE_FILE_H
#define ASYA_APP_SINGLE_FILE_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stdint.h>

enum { SINGLE_FILE_MAX = 1 << 20 }; /* bytes; Kubernetes takes no more in a ConfigMap */

/* Reads the file at `path` into `file`, whose limit bounds it. Returns 0 or -errno; -EFBIG if it is too large. */
int single_file_read(const char *path, struct buffer *file);

/* Whether these bytes are the single file as it was built: what the bundle puts into it, lines of printable ASCII, one
 * newline at the end. Only so is a YAML literal block the same bytes. */
bool single_file_is_whole(const struct buffer *file);

/* How many images it has: one for each kind of processor. */
uint32_t single_file_images(const struct buffer *file);

/* Takes out every image but that for `machine` ("x86_64", "aarch64"). False if there is none for it: then what is left
 * is of no use. */
bool single_file_keep_image(struct buffer *file, const char *machine);

#endif
