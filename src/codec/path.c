#include "codec/path.h"

#include "base/text.h"
#include "json/escape.h"

#include <stdbool.h>
#include <string.h>

void path_begin(struct path *path, const char *root)
{
    *path = (struct path){0};
    text_copy(path->head, sizeof path->head, root);
    path->head_size = strlen(path->head);
}

/* Once the head is full, steps go to the tail, whose oldest bytes make room for the newest. */
static void path_add(struct path *path, const char *step, size_t size)
{
    if (path->tail_size == 0 && path->head_size + size < sizeof path->head) {
        memcpy(path->head + path->head_size, step, size + 1);
        path->head_size += size;
        return;
    }
    size_t kept = path->tail_size;
    while (kept + size > PATH_TAIL_MAX) { /* whole characters leave, one at a time */
        path->is_cut = true;
        const char *old = path->tail + path->tail_size - kept;
        do {
            kept--;
            old++;
        } while (kept > 0 && ((unsigned char)*old & 0xC0) == 0x80);
    }
    memmove(path->tail, path->tail + path->tail_size - kept, kept);
    memcpy(path->tail + kept, step, size + 1);
    path->tail_size = kept + size;
}

static bool path_is_identifier(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_';
        if (!letter && !(c > text && *c >= '0' && *c <= '9')) {
            return false;
        }
    }
    return text[0] != '\0';
}

void path_text_of(PyObject *object, char *text, size_t size)
{
    PyObject *string = PyObject_Str(object);
    /* cut before it is encoded: a text of 100 MB costs no more than a short one */
    PyObject *head = string != NULL ? PyUnicode_Substring(string, 0, (Py_ssize_t)size) : NULL;
    PyObject *bytes = head != NULL ? PyUnicode_AsEncodedString(head, "utf-8", "backslashreplace") : NULL;
    char *data;
    Py_ssize_t length;
    text[0] = '\0';
    if (bytes != NULL && PyBytes_AsStringAndSize(bytes, &data, &length) == 0) {
        text_copy(text, size, data);
    }
    PyErr_Clear();
    Py_XDECREF(bytes);
    Py_XDECREF(head);
    Py_XDECREF(string);
}

void path_add_key(struct path *path, PyObject *key)
{
    char text[PATH_STEP_SIZE - 8], step[ESCAPE_ROOM(sizeof text) + 8];
    path_text_of(key, text, sizeof text);
    if (path_is_identifier(text)) {
        step[0] = '.';
        memcpy(step + 1, text, strlen(text) + 1);
        path_add(path, step, strlen(step));
        return;
    }
    memcpy(step, "[\"", 2);
    char *end = (char *)escape_untrusted((unsigned char *)step + 2, (const unsigned char *)text, strlen(text));
    memcpy(end, "\"]", 3);
    size_t size = strlen(step);
    if (size > PATH_STEP_SIZE) { /* mostly escapes */
        size = text_cut(step, size, PATH_STEP_SIZE - 5);
        memcpy(step + size, "...\"]", 6);
        size += 5;
    }
    path_add(path, step, size);
}

void path_add_index(struct path *path, Py_ssize_t index)
{
    char step[32];
    path_add(path, step, (size_t)PyOS_snprintf(step, sizeof step, "[%zd]", index));
}

void path_text(const struct path *path, char text[PATH_SIZE])
{
    (void)PyOS_snprintf(text, PATH_SIZE, "%s%s%s", path->head, path->is_cut ? "..." : "", path->tail);
}
