/*
 * The single file that this program was started from, as tools/bundle.py has built it: its bytes and the images in it.
 */
#ifndef ASYA_APP_SINGLE_FILE_H
#define ASYA_APP_SINGLE_FILE_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stdint.h>

enum { SINGLE_FILE_MAX = 1 << 20 }; /* bytes; Kubernetes takes no more in a ConfigMap */

/* Reads the file at `path` into `file`, whose limit bounds it. Returns 0 or -errno; -EFBIG if it is too large. */
int single_file_read(const char *path, struct buffer *file);

/* Whether these bytes are the single file as it was built: it begins as the bundle does, has only lines of printable
 * ASCII, and one newline at the end. Other bytes could not be written as a YAML literal block without a change. */
bool single_file_is_whole(const struct buffer *file);

/* The number of images, one for each kind of processor. */
uint32_t single_file_images(const struct buffer *file);

/* Removes every image but the one for `machine` ("x86_64", "aarch64"). False if there is none for it: the file is
 * unusable then. */
bool single_file_keep_image(struct buffer *file, const char *machine);

/* Removes the commands of a developer's desk (DESK in tools/bundle.py), which a pod has no use for. */
void single_file_drop_desk(struct buffer *file);

#endif
