/* A folder of the test's own, gone after it. */
#ifndef ASYA_TESTS_FOLDER_H
#define ASYA_TESTS_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

enum { FOLDER_SIZE = 64, PATH_SIZE = 256 };

/* Makes an empty folder with a short absolute path. */
void folder_make(char folder[FOLDER_SIZE]);

/* Removes it with all that is in it. */
void folder_remove(const char *folder);

/* The folder of a test that is made with FOLDER_TEST, or whose set-up calls folder_begin(). */
extern char own_folder[FOLDER_SIZE];

/* cmocka setup and teardown: with descriptors_note() and descriptors_check() as well. */
int folder_begin(void **state);
int folder_end(void **state);

#define FOLDER_TEST(function) cmocka_unit_test_setup_teardown(function, folder_begin, folder_end)

/* The path of what is called `name` in it. */
void path_in(char path[PATH_SIZE], const char *name);

/* How many entries a folder has. */
size_t folder_count(const char *folder);

/* A file with this content at `path`; and whether it is still exactly that. */
void file_write(const char *path, const char *content);
bool file_is(const char *path, const char *content);

#endif
