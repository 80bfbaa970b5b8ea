#include "python/failure.h"

#include "base/log.h"
#include "base/text.h"
#include "python/log.h"
#include "python/memory.h"

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

/* module.Qualified.Name, or the name alone for what is built in. */
static size_t qualified_name(PyObject *type, char *target, size_t size)
{
    char module[ERROR_TYPE_SIZE] = "builtins";
    PyObject *owner = PyObject_GetAttrString(type, "__module__");
    PyObject *name = owner != NULL ? PyObject_GetAttrString(type, "__qualname__") : NULL;
    size_t used = 0;
    if (name == NULL) {
        PyErr_Clear();
        used = class_name(type, target, size);
    } else {
        (void)failure_text_of(owner, module, sizeof module);
        if (strcmp(module, "builtins") != 0 && strlen(module) + 2 < size) {
            used = strlen(module);
            memcpy(target, module, used);
            target[used++] = '.';
        }
        used += failure_text_of(name, target + used, size - used);
    }
    Py_XDECREF(name);
    Py_XDECREF(owner);
    return used;
}

/* The ancestors' names, in the order Python looks through them. */
static void list_ancestors(PyObject *type, struct failure *failure)
{
    failure->mro_size = 0;
    PyObject *mro = PyObject_GetAttrString(type, "__mro__");
    Py_ssize_t count = mro != NULL && PyTuple_Check(mro) ? PyTuple_Size(mro) : 0;
    for (Py_ssize_t i = 1; i < count; i++) {
        PyObject *ancestor = PyTuple_GetItem(mro, i);
        if (ancestor == PyExc_BaseException || ancestor == (PyObject *)&PyBaseObject_Type) {
            continue;
        }
        char name[ERROR_TYPE_SIZE];
        size_t size = qualified_name(ancestor, name, sizeof name) + 1;
        if (size <= sizeof failure->mro - failure->mro_size) {
            memcpy(failure->mro + failure->mro_size, name, size);
            failure->mro_size += size;
        }
    }
    PyErr_Clear();
    Py_XDECREF(mro);
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

/* A thread that could not be started because its stack did not fit: Python says only that it could not. */
static bool is_stack_memory(PyObject *type, const struct failure *failure)
{
    return PyErr_GivenExceptionMatches(type, PyExc_RuntimeError) != 0 &&
           strstr(failure->text, "can't start new thread") != NULL && memory_lacks_stack();
}

static void name_memory_limit(struct failure *failure)
{
    static const char reason[] = ": its stack does not fit into ASYA_MEMORY_LIMIT";
    if (failure->text_size + sizeof reason <= sizeof failure->text) {
        memcpy(failure->text + failure->text_size, reason, sizeof reason);
        failure->text_size += sizeof reason - 1;
    }
}

/* The traceback as Python prints it, its end if it is too long. */
static void format_traceback(PyObject *type, PyObject *value, PyObject *traceback, char *target, size_t size)
{
    text_copy(target, size, "no traceback could be had");
    PyObject *module = PyImport_ImportModule("traceback");
    PyObject *lines =
        module != NULL ? PyObject_CallMethod(module, "format_exception", "OOO", type, value, traceback) : NULL;
    PyObject *empty = lines != NULL ? PyUnicode_FromString("") : NULL;
    PyObject *joined = empty != NULL ? PyUnicode_Join(empty, lines) : NULL;
    if (joined != NULL) {
        Py_ssize_t length = PyUnicode_GetLength(joined);
        Py_ssize_t start = length > (Py_ssize_t)size / 4 ? length - (Py_ssize_t)size / 4 : 0; /* 4 bytes a character */
        PyObject *tail = PyUnicode_Substring(joined, start, length);
        if (tail != NULL) {
            (void)failure_text_of(tail, target, size);
            Py_DECREF(tail);
        }
    }
    PyErr_Clear();
    Py_XDECREF(joined);
    Py_XDECREF(empty);
    Py_XDECREF(lines);
    Py_XDECREF(module);
}

/* Borrowed; value and traceback may be NULL. */
struct raised {
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
};

/* The runtime's line, and, for a failure of the function's, a record of its own logging. */
static void log_failure(const struct log_request *request, bool expected, const struct failure *failure,
                        const struct raised *raised)
{
    enum log_level level = expected                              ? LOG_LEVEL_DEBUG
                           : failure->category == ERR_VALIDATION ? LOG_LEVEL_WARNING
                                                                 : LOG_LEVEL_ERROR;
    char message[512];
    (void)PyOS_snprintf(message, sizeof message, "%s: %.100s: %.*s", error_code(failure->category), failure->type,
                        failure->text_size < 300 ? (int)failure->text_size : 300, failure->text);
    text_trim_partial(message);
    log_about(level, request, message, failure->traceback);
    if (!expected) {
        function_log_raised(level, message, raised->type, raised->value, raised->traceback);
    }
}

void failure_take(const struct log_request *request, bool expected, struct failure *ret_failure)
{
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL && value != NULL) {
        (void)PyException_SetTraceback(value, traceback);
    } else if (value != NULL) {
        traceback = PyException_GetTraceback(value); /* raised elsewhere, and handed on */
    }
    struct failure *failure = ret_failure;
    failure->type_size = class_name(type, failure->type, sizeof failure->type);
    (void)qualified_name(type, failure->name, sizeof failure->name);
    list_ancestors(type, failure);
    failure->text_size = value != NULL ? failure_text_of(value, failure->text, sizeof failure->text) : 0;
    if (failure->text_size == 0) { /* `raise ValueError` says at least its name */
        memcpy(failure->text, failure->type, failure->type_size + 1);
        failure->text_size = failure->type_size;
    }
    if (PyErr_GivenExceptionMatches(type, PyExc_MemoryError) || is_accelerator_memory(failure->type, failure->text)) {
        failure->category = ERR_MEMORY;
    } else if (is_stack_memory(type, failure)) {
        failure->category = ERR_MEMORY;
        name_memory_limit(failure);
    } else if (PyErr_GivenExceptionMatches(type, PyExc_ValueError)) {
        failure->category = ERR_VALIDATION;
    } else {
        failure->category = ERR_PROCESSING;
    }
    format_traceback(type, value != NULL ? value : Py_None, traceback != NULL ? traceback : Py_None, failure->traceback,
                     sizeof failure->traceback);
    log_failure(request, expected, failure, &(struct raised){type, value, traceback});
    Py_XDECREF(traceback);
    Py_XDECREF(value);
    Py_XDECREF(type);
}

/* What Python's own functions would have raised. */
struct known_exception {
    const char *name;
    const char *mro;
    size_t mro_size;
};

#define KNOWN(name, mro)                                                                                               \
    {                                                                                                                  \
        name, mro, sizeof mro                                                                                          \
    } /* the NUL that ends the literal ends the last name */

static struct known_exception known_exception_of(const struct error *err)
{
    static const struct known_exception json = KNOWN("json.decoder.JSONDecodeError", "ValueError\0Exception");
    static const struct known_exception encoding = KNOWN("UnicodeDecodeError", "UnicodeError\0ValueError\0Exception");
    static const struct known_exception memory = KNOWN("MemoryError", "Exception");
    static const struct known_exception server = KNOWN("RuntimeError", "Exception");
    switch (err->category) {
    case ERR_EMPTY:
    case ERR_JSON:
        return json;
    case ERR_ENCODING:
        return encoding;
    case ERR_MEMORY:
        return memory;
    case ERR_SERVER:
        return server;
    default:
        return (struct known_exception)KNOWN(err->type, "Exception");
    }
}

void failure_take_error(const struct log_request *request, const struct error *err, struct failure *ret_failure)
{
    struct failure *failure = ret_failure;
    struct known_exception known = known_exception_of(err);
    failure->category = err->category;
    text_copy(failure->text, sizeof failure->text, err->text);
    failure->text_size = strlen(failure->text);
    text_copy(failure->type, sizeof failure->type, err->type);
    failure->type_size = strlen(failure->type);
    text_copy(failure->name, sizeof failure->name, known.name);
    memcpy(failure->mro, known.mro, known.mro_size);
    failure->mro_size = known.mro_size;
    (void)PyOS_snprintf(failure->traceback, sizeof failure->traceback, "%s: %s\n", known.name, err->text);
    bool client = err->category != ERR_MEMORY && err->category != ERR_PROCESSING;
    char line[ERROR_TEXT_SIZE + ERROR_TYPE_SIZE + 64];
    (void)PyOS_snprintf(line, sizeof line, "%s: %s%s%s", error_code(err->category), err->type,
                        err->type[0] != '\0' ? ": " : "", err->text);
    if (!client || log_pass(LOG_LEVEL_WARNING, error_code(err->category))) {
        log_about(client ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR, request, line, NULL);
    }
}
