#include "python/failure.h"

#include "base/log.h"
#include "base/text.h"

#include <string.h>

size_t failure_text_of(PyObject *object, char *target, size_t size)
{
    static const char unprintable[] = "(its text cannot be had: str() of it raised)";
    PyObject *text = PyObject_Str(object);
    /* cut before encoding: a text of 100 MB costs no more than a short one. size code points are at least size bytes */
    PyObject *head = text != NULL ? PyUnicode_Substring(text, 0, (Py_ssize_t)size) : NULL;
    PyObject *bytes = head != NULL ? PyUnicode_AsEncodedString(head, "utf-8", "backslashreplace") : NULL;
    char *data;
    Py_ssize_t length;
    if (bytes != NULL && PyBytes_AsStringAndSize(bytes, &data, &length) == 0) {
        size_t cut = text_cut(data, (size_t)length, size - 1);
        memcpy(target, data, cut);
        target[cut] = '\0';
        size = cut;
    } else {
        text_copy(target, size, unprintable);
        size = strlen(target);
    }
    PyErr_Clear();
    Py_XDECREF(bytes);
    Py_XDECREF(head);
    Py_XDECREF(text);
    return size;
}

/* The class's __name__ into `target`. */
static size_t class_name(PyObject *type, char *target, size_t size)
{
    PyObject *name = PyObject_GetAttrString(type, "__name__");
    if (name == NULL) {
        PyErr_Clear();
        text_copy(target, size, "Exception");
        return strlen(target);
    }
    size_t length = failure_text_of(name, target, size);
    Py_DECREF(name);
    return length;
}

/* Accelerator libraries raise errors of their own when their memory runs out (torch.cuda.OutOfMemoryError, or a
 * RuntimeError that says so). */
static bool is_accelerator_memory(const char *type, const char *text)
{
    if (strstr(type, "OutOfMemory") != NULL) {
        return true;
    }
    return strstr(text, "CUDA out of memory") != NULL || strstr(text, "CUDA error: out of memory") != NULL ||
           strstr(text, "HIP out of memory") != NULL;
}

static void log_failure(const struct failure *failure, PyObject *type, PyObject *value, PyObject *traceback)
{
    enum log_level level = failure->category == ERR_VALIDATION ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR;
    if (!log_enabled(level)) {
        return;
    }
    char message[512];
    (void)PyOS_snprintf(message, sizeof message, "%s: %.100s: %.300s", error_code(failure->category), failure->type,
                        failure->text);
    text_trim_partial(message);
    static char detail[LOG_LINE_SIZE]; /* one thread at a time logs: the GIL is held */
    detail[0] = '\0';
    PyObject *module = PyImport_ImportModule("traceback");
    PyObject *lines =
        module != NULL ? PyObject_CallMethod(module, "format_exception", "OOO", type, value, traceback) : NULL;
    PyObject *empty = lines != NULL ? PyUnicode_FromString("") : NULL;
    PyObject *joined = empty != NULL ? PyUnicode_Join(empty, lines) : NULL;
    if (joined != NULL) {
        Py_ssize_t length = PyUnicode_GetLength(joined);
        Py_ssize_t start = length > LOG_LINE_SIZE ? length - LOG_LINE_SIZE : 0;
        PyObject *tail = PyUnicode_Substring(joined, start, length);
        if (tail != NULL) {
            (void)failure_text_of(tail, detail, sizeof detail);
            Py_DECREF(tail);
        }
    }
    PyErr_Clear();
    Py_XDECREF(joined);
    Py_XDECREF(empty);
    Py_XDECREF(lines);
    Py_XDECREF(module);
    log_with_detail(level, message, detail[0] != '\0' ? detail : "no traceback could be had");
}

void failure_take(struct failure *ret_failure)
{
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL && value != NULL) {
        (void)PyException_SetTraceback(value, traceback);
    }
    struct failure *failure = ret_failure;
    failure->type_size = class_name(type, failure->type, sizeof failure->type);
    failure->text_size = value != NULL ? failure_text_of(value, failure->text, sizeof failure->text) : 0;
    if (failure->text_size == 0) { /* `raise ValueError` says at least its name */
        memcpy(failure->text, failure->type, failure->type_size + 1);
        failure->text_size = failure->type_size;
    }
    if (PyErr_GivenExceptionMatches(type, PyExc_MemoryError) || is_accelerator_memory(failure->type, failure->text)) {
        failure->category = ERR_MEMORY;
    } else if (PyErr_GivenExceptionMatches(type, PyExc_ValueError)) {
        failure->category = ERR_VALIDATION;
    } else {
        failure->category = ERR_PROCESSING;
    }
    log_failure(failure, type, value != NULL ? value : Py_None, traceback != NULL ? traceback : Py_None);
    Py_XDECREF(traceback);
    Py_XDECREF(value);
    Py_XDECREF(type);
}
