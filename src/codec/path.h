/*
 * Where in a result something is wrong: "result.items[3].score", for a person who reads an error text.
 *
 * A path is written forwards, a step at a time; one that grows too long keeps its beginning and its end. Needs the GIL;
 * leaves no exception set.
 */
#ifndef ASYA_CODEC_PATH_H
#define ASYA_CODEC_PATH_H

#include <Python.h>
#include <stddef.h>

enum {
    PATH_STEP_SIZE = 80, /* bytes of one step with its NUL; a longer key is cut */
    PATH_HEAD_MAX = 160,
    PATH_TAIL_MAX = 160,
    PATH_SIZE = PATH_HEAD_MAX + PATH_TAIL_MAX + 8, /* of a whole path with its NUL */
};

/* UTF-8, NUL-terminated. */
struct path {
    char head[PATH_HEAD_MAX + 1];
    char tail[PATH_TAIL_MAX + 1]; /* used once the head is full */
    size_t head_size, tail_size;
    int is_cut;
};

/* Starts with the name of the root. */
void path_begin(struct path *path, const char *root);

/* ".name" if the key is an identifier, else ["key"]. */
void path_add_key(struct path *path, PyObject *key);

/* "[3]" */
void path_add_index(struct path *path, Py_ssize_t index);

/* The whole of it. */
void path_text(const struct path *path, char text[PATH_SIZE]);

/* str(object) as UTF-8 into `text`, cut to `size` bytes with the NUL; "" if that raises. */
void path_text_of(PyObject *object, char *text, size_t size);

#endif
