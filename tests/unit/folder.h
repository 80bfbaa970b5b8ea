/* A folder of the test's own, gone after it. */
#ifndef ASYA_TESTS_FOLDER_H
#define ASYA_TESTS_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

enum { FOLDER_SIZE = 64 };

/* Makes an empty folder with a short absolute path. */
void folder_make(char folder[FOLDER_SIZE]);

/* Removes it with all that is in it. */
void folder_remove(const char *folder);

/* How many entries it has. */
size_t folder_count(const char *folder);

/* A file with this content at `path`; and whether it is still exactly that. */
void file_write(const char *path, const char *content);
bool file_is(const char *path, const char *content);

#endif
