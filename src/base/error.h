/*
 * Errors as values: a category, the place in the input, and a text for people.
 *
 * An error lives on the caller's stack and is filled by the callee without allocation. Every function that can fail
 * takes it as its last argument and writes it only on failure; results are written only on success.
 */
#ifndef ASYA_BASE_ERROR_H
#define ASYA_BASE_ERROR_H

#include <stdbool.h>
#include <stddef.h>

enum error_category {
    ERR_NONE = 0,
#define ERROR_CATEGORY(name, code) ERR_##name,
#include "base/errors.def"
#undef ERROR_CATEGORY
    ERR_CATEGORIES
};

enum {
    ERROR_TEXT_SIZE = 1024, /* bytes of error.text with its NUL; longer texts are cut at a character's border */
    ERROR_TYPE_SIZE = 128,  /* bytes of error.type with its NUL */
};

struct error {
    enum error_category category;
    size_t offset;              /* byte of the input the error is about; 0 where that has no meaning */
    char type[ERROR_TYPE_SIZE]; /* class name for ERR_PROCESSING, else "" */
    char text[ERROR_TEXT_SIZE]; /* valid UTF-8, NUL-terminated */
};

/* The code a client sees ("invalid_json"); "server_error" for a value that is no category. Static storage. */
const char *error_code(enum error_category category);

/* Fills `err` (may be NULL: then nothing happens): type becomes "". The text is cut to fit, never inside a UTF-8
 * sequence. Returns false, so that a failing function can end with `return error_set(...)`. */
bool error_set(struct error *err, enum error_category category, size_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* As error_set with ERR_PROCESSING, and a class name for error.type (cut to fit). */
bool error_set_processing(struct error *err, const char *type, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
