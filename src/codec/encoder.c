#include "codec/encoder.h"

#include "codec/path.h"
#include "codec/types.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void *encoder_fail(struct encoder *e, const char *type, const char *format, ...)
{
    char text[ERROR_TEXT_SIZE - PATH_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    error_set_processing(e->err, type, "%s", text);
    return NULL;
}

void *encoder_fail_memory(struct encoder *e)
{
    error_set(e->err, ERR_MEMORY, 0, "no memory to write the result");
    return NULL;
}

static void encoder_name_of_type(PyTypeObject *type, char *name, size_t size)
{
    PyObject *attribute = PyObject_GetAttrString((PyObject *)type, "__name__");
    name[0] = '\0';
    if (attribute != NULL) {
        path_text_of(attribute, name, size);
        Py_DECREF(attribute);
    }
    PyErr_Clear();
}

void *encoder_fail_raised(struct encoder *e)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == NULL || PyErr_GivenExceptionMatches(type, PyExc_MemoryError)) {
        encoder_fail_memory(e);
    } else {
        char name[ERROR_TYPE_SIZE], text[ERROR_TEXT_SIZE - PATH_SIZE] = "";
        PyErr_NormalizeException(&type, &value, &traceback);
        encoder_name_of_type((PyTypeObject *)type, name, sizeof name);
        if (value != NULL) {
            path_text_of(value, text, sizeof text);
        }
        bool bare = PyErr_GivenExceptionMatches(type, PyExc_KeyError) != 0; /* its text is the key alone */
        encoder_fail(e, name[0] != '\0' ? name : "Exception", "%s%s%s", bare || text[0] == '\0' ? name : "",
                     bare && text[0] != '\0' ? ": " : "", text);
        if (value != NULL && traceback != NULL) {
            (void)PyException_SetTraceback(value, traceback);
        }
        PyObject *former = e->raised;
        e->raised = value;
        value = former;
    }
    Py_XDECREF(traceback);
    Py_XDECREF(value);
    Py_XDECREF(type);
    return NULL;
}

void *encoder_fail_number(struct encoder *e, double value)
{
    const char *name = value != value ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
    return encoder_fail(e, "ValueError", "%s is not a JSON number", name);
}

void *encoder_fail_key(struct encoder *e, PyObject *key)
{
    char name[ERROR_TYPE_SIZE];
    encoder_name_of_type(Py_TYPE(key), name, sizeof name);
    return encoder_fail(e, "TypeError", "a key must be str, int, float, bool or None, not %s", name);
}

void *encoder_fail_unknown_type(struct encoder *e, PyObject *object)
{
    char name[ERROR_TYPE_SIZE], hint[ERROR_TEXT_SIZE - PATH_SIZE] = "";
    PyObject *said = types_answer_to("hint_about", (PyObject *)Py_TYPE(object));
    if (said != NULL) {
        path_text_of(said, hint, sizeof hint);
        Py_DECREF(said);
    }
    PyErr_Clear();
    if (hint[0] != '\0') {
        return encoder_fail(e, "TypeError", "an object of type %s", hint);
    }
    encoder_name_of_type(Py_TYPE(object), name, sizeof name);
    return encoder_fail(e, "TypeError", "an object of type %s cannot be written as JSON", name);
}

void *encoder_fail_deep(struct encoder *e)
{
    return encoder_fail(e, "ValueError", "more than %d levels of nesting", ENCODER_DEPTH_MAX);
}

/* The way from the root to where the error happened. */
static void encoder_describe(const struct encoder *e, const char *root, char text[PATH_SIZE])
{
    struct path path;
    path_begin(&path, root);
    for (size_t i = 0; i < e->work->depth; i++) {
        const struct frame *frame = &e->work->frames[i];
        if (frame->key != NULL) {
            path_add_key(&path, frame->key);
        } else if (frame->form <= FORM_TUPLE && frame->at > 0) {
            path_add_index(&path, frame->at - 1);
        }
    }
    for (int i = 0; e->in_array && i < e->work->position.dimensions; i++) {
        path_add_index(&path, e->work->position.index[i]);
    }
    path_text(&path, text);
}

void encoder_explain(struct encoder *e, const char *root)
{
    char path[PATH_SIZE], type[ERROR_TYPE_SIZE], text[ERROR_TEXT_SIZE];
    if (e->out.status == BUFFER_NO_MEMORY) {
        encoder_fail_memory(e);
    } else if (e->out.status == BUFFER_LIMIT) { /* no place in it is to blame */
        error_set_processing(e->err, "ValueError", "%s: the JSON text is larger than %zu bytes", root, e->out.limit);
    } else if (e->err != NULL && e->err->category == ERR_PROCESSING) {
        encoder_describe(e, root, path);
        memcpy(type, e->err->type, sizeof type);
        memcpy(text, e->err->text, sizeof text);
        error_set_processing(e->err, type, "%s: %s", path, text);
    }
}
