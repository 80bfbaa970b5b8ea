#include "python/failure.h"

#include "base/log.h"
#include "base/text.h"
#include "python/log.h"
#include "python/memory.h"
#include "python/raised.h"

#include <stdio.h>
#include <string.h>

enum { NESTED_MAX = 8 }; /* causes and groups that are looked into, one in the other */

size_t failure_text_of(PyObject *object, char *target, size_t size)
{
    static const char unprintable[] = "(its text cannot be had: str() of it raised)";
    PyObject *text = PyObject_Str(object);
    /* cut before it is encoded, so a text of 100 MB costs no more than a short one; `size` code points are at least
     * `size` bytes */
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
static size_t failure_class_name(PyObject *type, char *target, size_t size)
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
static size_t failure_qualified_name(PyObject *type, char *target, size_t size)
{
    char module[ERROR_TYPE_SIZE] = "builtins";
    PyObject *owner = PyObject_GetAttrString(type, "__module__");
    PyObject *name = owner != NULL ? PyObject_GetAttrString(type, "__qualname__") : NULL;
    size_t used = 0;
    if (name == NULL) {
        PyErr_Clear();
        used = failure_class_name(type, target, size);
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
static void failure_list_ancestors(PyObject *type, struct failure *failure)
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
        size_t size = failure_qualified_name(ancestor, name, sizeof name) + 1;
        if (size <= sizeof failure->mro - failure->mro_size) {
            memcpy(failure->mro + failure->mro_size, name, size);
            failure->mro_size += size;
        }
    }
    PyErr_Clear();
    Py_XDECREF(mro);
}

/* How libraries say that memory ran out when they raise no MemoryError: the text, and whose classes it counts in. */
struct memory_phrase {
    const char *owner; /* the exception's class or an ancestor begins so; "": any class but ValueError's; NULL: any */
    const char *text;
};

static const struct memory_phrase memory_phrases[] = {
    {NULL, "CUDA out of memory"}, /* torch: before it had a class for that, and where its C++ code throws */
    {NULL, "CUDA error: out of memory"},
    {NULL, "HIP out of memory"},
    {"", "cudaErrorMemoryAllocation"},
    {"",
     "DefaultCPUAllocator: "}, /* torch: "can't allocate memory: you tried to allocate ...", "not enough memory: ..." */
    {"", "std::bad_alloc"},    /* C++'s own, in whatever class a binding makes of it */
    {"xgboost.", "bad_alloc"}, /* XGBoostError is a ValueError */
    {"xgboost.", "Out of memory"},
    {"xgboost.", "out of memory"},
    {"xgboost.", "cudaErrorMemoryAllocation"},
    {"onnxruntime.", "Failed to allocate memory for requested buffer"},
    {"onnxruntime.", "bad allocation"},
    {"onnxruntime.", "bad_alloc"},
    {"jax.", "RESOURCE_EXHAUSTED"},    /* JaxRuntimeError */
    {"jaxlib.", "RESOURCE_EXHAUSTED"}, /* the same, XlaRuntimeError before 2025 */
    {"cv2.", "Insufficient memory"},   /* OpenCV's StsNoMem */
    {"tensorflow.", "OOM when allocating"},
    {"tensorflow.", "failed to allocate memory"},
};

static bool failure_is_of(const struct failure *failure, const char *owner)
{
    size_t size = strlen(owner);
    bool found = strncmp(failure->name, owner, size) == 0;
    for (size_t at = 0; at < failure->mro_size && !found; at += strlen(failure->mro + at) + 1) {
        found = strncmp(failure->mro + at, owner, size) == 0;
    }
    return found;
}

/* Libraries raise errors of their own when memory runs out: torch.OutOfMemoryError, a RuntimeError with such a text, or
 * even a ValueError, which would blame the sender. The text alone proves little, since users write their own texts into
 * a ValueError: one that quotes such words stays a validation_error, unless its class is defined by the library that
 * uses these words. CUDA's sentence is the exception: nobody writes it into an error about a payload, so a ValueError
 * with it only passes on the GPU's error. */
static bool failure_is_librarys_memory(const struct raised *raised, const struct failure *failure)
{
    if (strstr(failure->type, "OutOfMemory") != NULL) {
        return true;
    }
    bool is_value = raised_is(raised, PyExc_ValueError);
    for (size_t i = 0; i < sizeof memory_phrases / sizeof memory_phrases[0]; i++) {
        const struct memory_phrase *phrase = &memory_phrases[i];
        if (strstr(failure->text, phrase->text) != NULL &&
            (phrase->owner == NULL || (phrase->owner[0] != '\0' ? failure_is_of(failure, phrase->owner) : !is_value))) {
            return true;
        }
    }
    return false;
}

/* The attribute, or NULL; leaves no exception. */
static PyObject *failure_attribute(PyObject *value, const char *name)
{
    PyObject *attribute = PyObject_GetAttrString(value, name);
    PyErr_Clear();
    return attribute;
}

/* MemoryError, in a group such as asyncio.TaskGroup's, or what an error was raised `from`. But a ValueError from one
 * says that the sender asked for too much. */
static bool failure_is_memory(PyObject *value, int depth)
{
    if (value == NULL || depth == 0) {
        return false;
    }
    if (PyErr_GivenExceptionMatches(value, PyExc_MemoryError)) {
        return true;
    }
    PyObject *cause =
        PyErr_GivenExceptionMatches(value, PyExc_ValueError) ? NULL : failure_attribute(value, "__cause__");
    PyObject *parts = failure_attribute(value, "exceptions");
    Py_ssize_t count = parts != NULL && PyTuple_Check(parts) ? PyTuple_Size(parts) : 0;
    bool found = failure_is_memory(cause, depth - 1);
    for (Py_ssize_t i = 0; i < count && !found; i++) {
        found = failure_is_memory(PyTuple_GetItem(parts, i), depth - 1);
    }
    Py_XDECREF(parts);
    Py_XDECREF(cause);
    return found;
}

/* Python does not say why a thread could not be started; here it may be because its stack did not fit into the
 * limit. */
static bool failure_is_stack_memory(PyObject *type, const struct failure *failure)
{
    return PyErr_GivenExceptionMatches(type, PyExc_RuntimeError) != 0 &&
           strstr(failure->text, "can't start new thread") != NULL && memory_lacks_stack();
}

static void failure_name_memory_limit(struct failure *failure)
{
    static const char reason[] = ": its stack does not fit into ASYA_MEMORY_LIMIT";
    if (failure->text_size + sizeof reason <= sizeof failure->text) {
        memcpy(failure->text + failure->text_size, reason, sizeof reason);
        failure->text_size += sizeof reason - 1;
    }
}

void failure_write_traceback(const struct raised *raised, char *target, size_t size)
{
    PyObject *whole = raised_format(raised);
    Py_ssize_t length = whole != NULL ? PyUnicode_GetLength(whole) : 0;
    Py_ssize_t start =
        length > (Py_ssize_t)size ? length - (Py_ssize_t)size : 0; /* a character has one byte at least */
    PyObject *tail = whole != NULL ? PyUnicode_Substring(whole, start, length) : NULL;
    PyObject *bytes = tail != NULL ? PyUnicode_AsEncodedString(tail, "utf-8", "backslashreplace") : NULL;
    char *data;
    Py_ssize_t all;
    if (bytes != NULL && PyBytes_AsStringAndSize(bytes, &data, &all) == 0) {
        char *from = (size_t)all < size ? data : data + all - (size - 1);
        while ((*from & 0xC0) == 0x80) { /* not within a character */
            from++;
        }
        text_copy(target, size, from); /* up to a NUL, if the traceback has one */
    } else {
        text_copy(target, size, "no traceback could be had");
    }
    PyErr_Clear();
    Py_XDECREF(bytes);
    Py_XDECREF(tail);
    Py_XDECREF(whole);
}

const char *failure_frames(const char *traceback)
{
    const char *end_of_line = strchr(traceback, '\n');
    return end_of_line != NULL && end_of_line[1] == '\0' ? NULL : traceback;
}

/* str() of a KeyError is no more than the key's repr, and tells nothing where it stands alone: Python itself prints the
 * class before it. Texts of other classes are not changed, nor those of a subclass with a __str__ of its own. */
static bool failure_is_bare_key(const struct raised *raised)
{
    if (raised->value == NULL || !raised_is(raised, PyExc_KeyError)) {
        return false;
    }
    PyObject *arguments = PyObject_GetAttrString(raised->value, "args");
    PyObject *own = PyObject_GetAttrString(raised->type, "__str__");
    PyObject *plain = PyObject_GetAttrString(PyExc_KeyError, "__str__");
    bool bare =
        arguments != NULL && PyTuple_Check(arguments) && PyTuple_Size(arguments) == 1 && own != NULL && own == plain;
    PyErr_Clear();
    Py_XDECREF(plain);
    Py_XDECREF(own);
    Py_XDECREF(arguments);
    return bare;
}

/* pdb gives up at the end of standard input, which is empty in a worker, with an exception that has no text. */
static const char *failure_explain_silence(const struct failure *failure)
{
    return strcmp(failure->name, "bdb.BdbQuit") == 0
               ? ": breakpoint() has no terminal in a worker; run the function with the command 'call'"
               : "";
}

/* What the reply says: str(exception), "KeyError: 'missing'" for a bare key, and the class's name where there is no
 * text. */
static void failure_write_text(const struct raised *raised, struct failure *failure)
{
    static const char between[] = ": ";
    size_t used = 0;
    if (failure_is_bare_key(raised)) {
        used = failure->type_size;
        memcpy(failure->text, failure->type, used);
        memcpy(failure->text + used, between, sizeof between);
        used += sizeof between - 1;
    }
    size_t size =
        raised->value != NULL ? failure_text_of(raised->value, failure->text + used, sizeof failure->text - used) : 0;
    if (size == 0) { /* `raise ValueError` has no text: its name is better than nothing */
        int named =
            snprintf(failure->text, sizeof failure->text, "%s%s", failure->type, failure_explain_silence(failure));
        used = named > 0 ? (size_t)named : 0;
    }
    failure->text_size = used + size;
}

/* The text names its class already: a line of the log does not name it again. */
static bool failure_names_type(const struct failure *failure)
{
    return failure->text_size >= failure->type_size && memcmp(failure->text, failure->type, failure->type_size) == 0 &&
           (failure->text[failure->type_size] == '\0' || failure->text[failure->type_size] == ':');
}

/* The runtime's line, and, for a failure of the function's, a record of its own logging. */
static void failure_log(const struct log_facts *about, bool expected, const struct failure *failure,
                        const struct raised *raised)
{
    enum log_level level = expected                              ? LOG_LEVEL_DEBUG
                           : failure->category == ERR_VALIDATION ? LOG_LEVEL_WARNING
                                                                 : LOG_LEVEL_ERROR;
    char message[512];
    bool named = failure_names_type(failure);
    (void)PyOS_snprintf(message, sizeof message, "%s: %.100s%s%.*s", error_code(failure->category),
                        named ? "" : failure->type, named ? "" : ": ",
                        failure->text_size < 300 ? (int)failure->text_size : 300, failure->text);
    text_trim_partial(message);
    struct log_facts facts = *about;
    facts.category = error_code(failure->category);
    facts.error_type = failure->type;
    facts.stack = failure_frames(failure->traceback);
    log_event(level, EVENT_REQUEST_FAILED, &facts, "%s", message);
    if (!expected) {
        function_log_raised(level, message, raised);
    }
}

/* Category, text and type of an exception, whose text may still be changed. */
static void failure_judge(const struct raised *raised, bool of_call, struct failure *failure)
{
    if (failure_is_memory(raised->value, NESTED_MAX) || failure_is_librarys_memory(raised, failure)) {
        failure->category = ERR_MEMORY;
    } else if (failure_is_stack_memory(raised->type, failure)) {
        failure->category = ERR_MEMORY;
        failure_name_memory_limit(failure);
    } else {
        failure->category = of_call && raised_is(raised, PyExc_ValueError) ? ERR_VALIDATION : ERR_PROCESSING;
    }
}

void failure_take(const struct log_facts *about, bool expected, const struct error *err, struct failure *ret_failure)
{
    struct raised raised = raised_take();
    struct failure *failure = ret_failure;
    failure->type_size = failure_class_name(raised.type, failure->type, sizeof failure->type);
    (void)failure_qualified_name(raised.type, failure->name, sizeof failure->name);
    failure_list_ancestors(raised.type, failure);
    failure_write_text(&raised, failure);
    if (err != NULL) {
        text_copy(failure->text, sizeof failure->text, err->text);
        failure->text_size = strlen(failure->text);
    }
    failure_judge(&raised, err == NULL, failure);
    failure_write_traceback(&raised, failure->traceback, sizeof failure->traceback);
    failure_log(about, expected, failure, &raised);
    raised_done(&raised);
}

void failure_take_error(const struct log_facts *about, const struct error *err, struct failure *ret_failure)
{
    static const char exception[] = "Exception";
    struct failure *failure = ret_failure;
    struct reply_details details = reply_details_of(err);
    if (err->category == ERR_PROCESSING) { /* a class of Python's, such as TypeError: the result is not JSON */
        details.mro = (struct view){exception, sizeof exception};
    }
    failure->category = err->category;
    text_copy(failure->text, sizeof failure->text, err->text);
    failure->text_size = strlen(failure->text);
    text_copy(failure->type, sizeof failure->type, err->type);
    failure->type_size = strlen(failure->type);
    text_copy(failure->name, sizeof failure->name, details.name);
    memcpy(failure->mro, details.mro.data, details.mro.size);
    failure->mro_size = details.mro.size;
    (void)PyOS_snprintf(failure->traceback, sizeof failure->traceback, "%s: %s\n", details.name, err->text);
    bool client = err->category != ERR_MEMORY && err->category != ERR_PROCESSING;
    char line[ERROR_TEXT_SIZE + ERROR_TYPE_SIZE + 64];
    (void)PyOS_snprintf(line, sizeof line, "%s: %s%s%s", error_code(err->category), err->type,
                        err->type[0] != '\0' ? ": " : "", err->text);
    if (!client || log_pass(LOG_LEVEL_WARNING, error_code(err->category))) {
        struct log_facts facts = *about;
        facts.category = error_code(err->category);
        facts.error_type = err->type;
        log_event(client ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR, client ? EVENT_REQUEST_REFUSED : EVENT_REQUEST_FAILED,
                  &facts, "%s", line);
    }
}

void failure_write(const struct failure *failure, enum protocol protocol, bool before_call, struct buffer *out)
{
    struct view text = {failure->text, failure->text_size};
    struct view type = {failure->type, failure->type_size};
    struct reply_details details = {.code = before_call ? "msg_parsing_error" : "processing_error",
                                    .text = text,
                                    .name = failure->name,
                                    .type = type,
                                    .mro = {failure->mro, failure->mro_size},
                                    .traceback = view_of(failure->traceback)};
    out->size = 0;
    enum buffer_status status = protocol == PROTOCOL_RAW ? reply_error(out, failure->category, text, type)
                                                         : reply_error_details(out, protocol, &details);
    if (status != BUFFER_OK) {
        out->size = 0;
    }
}
