/*
 * One recursive pass with a counted depth. Each container being written is a link of a chain on the C stack, from which
 * an error's path is read; nothing is kept for it while all goes well.
 */
#include "codec/encode.h"

#include "base/text.h"
#include "codec/convert.h"
#include "codec/pyabi.h"
#include "json/escape.h"

#include <string.h>

enum {
    DEPTH_MAX = 1000,
    PATH_SIZE = 512, /* bytes of a path in an error text */
    STEP_SIZE = 64,  /* bytes of one step of it */
    CONVERSION = -1, /* index of a level that stands for a conversion: no step of the path */
    INT_SIZE = 24,   /* "-9223372036854775808" and a comma */
};

/* A container being written, and where in it we are. */
struct level {
    const struct level *outer;
    PyObject *container; /* borrowed from the caller of this level */
    PyObject *key;       /* of a dict, borrowed; NULL in a list */
    Py_ssize_t index;
    unsigned depth;
};

struct encoder {
    struct buffer *out;
    const char *root;
    struct error *err;
};

static bool write_value(struct encoder *encoder, PyObject *object, const struct level *outer);

/* ---- errors ----------------------------------------------------------------------------------------------------- */

static bool is_identifier(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_';
        if (!letter && !(c > text && *c >= '0' && *c <= '9')) {
            return false;
        }
    }
    return text[0] != '\0';
}

/* str(object), cut to fit, into `text`. Leaves no exception. */
static void text_of(PyObject *object, char *text, size_t size)
{
    PyObject *string = PyObject_Str(object);
    PyObject *head = string != NULL ? PyUnicode_Substring(string, 0, (Py_ssize_t)size) : NULL;
    PyObject *bytes = head != NULL ? PyUnicode_AsEncodedString(head, "utf-8", "backslashreplace") : NULL;
    char *data;
    text_copy(text, size, bytes != NULL && PyBytes_AsStringAndSize(bytes, &data, NULL) == 0 ? data : "?");
    PyErr_Clear();
    Py_XDECREF(bytes);
    Py_XDECREF(head);
    Py_XDECREF(string);
}

/* ".score", "[3]" or ["any key"]. */
static void describe_step(const struct level *level, char step[STEP_SIZE + 8])
{
    char key[STEP_SIZE];
    if (level->index == CONVERSION) {
        step[0] = '\0';
        return;
    }
    if (level->key == NULL) {
        (void)PyOS_snprintf(step, STEP_SIZE + 8, "[%zd]", level->index);
        return;
    }
    text_of(level->key, key, sizeof key);
    (void)PyOS_snprintf(step, STEP_SIZE + 8, is_identifier(key) ? ".%s" : "[\"%s\"]", key);
}

/* The path from the root to `level`, innermost steps first written from the end; a long one loses its middle. */
static void describe_path(const struct encoder *encoder, const struct level *level, char path[PATH_SIZE])
{
    char steps[PATH_SIZE];
    size_t start = sizeof steps - 1;
    steps[start] = '\0';
    bool cut = false;
    for (; level != NULL; level = level->outer) {
        char step[STEP_SIZE + 8];
        describe_step(level, step);
        size_t size = strlen(step);
        if (size + 64 > start) {
            cut = true;
            break;
        }
        start -= size;
        memcpy(steps + start, step, size);
    }
    (void)PyOS_snprintf(path, PATH_SIZE, "%.32s%s%s", encoder->root, cut ? "..." : "", steps + start);
    text_trim_partial(path);
}

static bool fail(struct encoder *encoder, const struct level *level, const char *type, const char *what)
{
    char path[PATH_SIZE];
    describe_path(encoder, level, path);
    return error_set_processing(encoder->err, type, "%s: %s", path, what);
}

/* The exception that is set, as an error. */
static bool fail_raised(struct encoder *encoder, const struct level *level)
{
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == NULL || PyErr_GivenExceptionMatches(type, PyExc_MemoryError)) {
        error_set(encoder->err, ERR_MEMORY, 0, "no memory to write the result");
    } else {
        char name[ERROR_TYPE_SIZE] = "Exception";
        char text[PATH_SIZE] = "";
        PyErr_NormalizeException(&type, &value, &traceback);
        PyObject *attribute = PyObject_GetAttrString(type, "__name__");
        if (attribute != NULL) {
            text_of(attribute, name, sizeof name);
            Py_DECREF(attribute);
        }
        if (value != NULL) {
            text_of(value, text, sizeof text);
        }
        fail(encoder, level, name, text[0] != '\0' ? text : name);
    }
    PyErr_Clear();
    Py_XDECREF(traceback);
    Py_XDECREF(value);
    Py_XDECREF(type);
    return false;
}

/* The buffer's refusal, as an error. */
static bool check(struct encoder *encoder, const struct level *level, enum buffer_status status)
{
    if (status == BUFFER_OK) {
        return true;
    }
    if (status == BUFFER_NO_MEMORY) {
        return error_set(encoder->err, ERR_MEMORY, 0, "no memory to write the result");
    }
    char what[96];
    (void)PyOS_snprintf(what, sizeof what, "the JSON text is larger than %zu bytes", encoder->out->limit);
    return fail(encoder, level, "ValueError", what);
}

static bool append(struct encoder *encoder, const struct level *level, const char *bytes, size_t size)
{
    return check(encoder, level, buffer_append(encoder->out, bytes, size));
}

/* ---- scalars ---------------------------------------------------------------------------------------------------- */

/* A str with lone surrogates: UTF-8 but for these, which become escapes. */
static bool write_surrogates(struct encoder *encoder, PyObject *text, const struct level *level)
{
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
    char *data;
    Py_ssize_t size;
    if (bytes == NULL || PyBytes_AsStringAndSize(bytes, &data, &size) < 0) {
        Py_XDECREF(bytes);
        return fail_raised(encoder, level);
    }
    const unsigned char *at = (const unsigned char *)data;
    const unsigned char *end = at + size;
    bool good = append(encoder, level, "\"", 1);
    while (good && at < end) {
        const unsigned char *next = at;
        while (next < end && !(*next == 0xED && next[1] >= 0xA0)) { /* 0xED always has two bytes behind it */
            next++;
        }
        good = check(encoder, level, escape_append(encoder->out, at, (size_t)(next - at)));
        if (good && next < end) {
            char escaped[8];
            unsigned code = 0xD000U | ((next[1] & 0x3FU) << 6) | (next[2] & 0x3FU);
            (void)PyOS_snprintf(escaped, sizeof escaped, "\\u%04x", code);
            good = append(encoder, level, escaped, 6);
            next += 3;
        }
        at = next;
    }
    Py_DECREF(bytes);
    return good && append(encoder, level, "\"", 1);
}

static bool write_str(struct encoder *encoder, PyObject *text, const struct level *level)
{
    Py_ssize_t size;
    const char *data = PyUnicode_AsUTF8AndSize(text, &size);
    if (data == NULL) {
        if (PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
            PyErr_Clear();
            return write_surrogates(encoder, text, level);
        }
        return fail_raised(encoder, level);
    }
    return check(encoder, level, escape_string(encoder->out, (const unsigned char *)data, (size_t)size));
}

/* An int beyond 64 bits, in CPython's own time and within its digit limit. */
static bool write_long_int(struct encoder *encoder, PyObject *number, const struct level *level)
{
    PyObject *text = PyNumber_ToBase(number, 10);
    Py_ssize_t size;
    const char *digits = text != NULL ? PyUnicode_AsUTF8AndSize(text, &size) : NULL;
    bool good = digits != NULL ? append(encoder, level, digits, (size_t)size) : fail_raised(encoder, level);
    Py_XDECREF(text);
    return good;
}

static bool write_int(struct encoder *encoder, PyObject *number, const struct level *level)
{
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow != 0) {
        return write_long_int(encoder, number, level);
    }
    if (value == -1 && PyErr_Occurred()) {
        return fail_raised(encoder, level);
    }
    char digits[INT_SIZE];
    char *next = digits + sizeof digits;
    unsigned long long rest = value < 0 ? 0 - (unsigned long long)value : (unsigned long long)value;
    do {
        *--next = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0) {
        *--next = '-';
    }
    return append(encoder, level, next, (size_t)(digits + sizeof digits - next));
}

static bool write_float(struct encoder *encoder, PyObject *number, const struct level *level)
{
    double value = PyFloat_AsDouble(number);
    if (!__builtin_isfinite(value)) {
        return fail(encoder, level, "ValueError", "NaN and Infinity cannot be written as JSON");
    }
    char *text = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (text == NULL) {
        return fail_raised(encoder, level);
    }
    bool good = append(encoder, level, text, strlen(text));
    PyMem_Free(text);
    return good;
}

/* ---- containers ------------------------------------------------------------------------------------------------- */

static bool write_key(struct encoder *encoder, PyObject *key, const struct level *level)
{
    if (PyUnicode_Check(key)) {
        return write_str(encoder, key, level);
    }
    bool scalar = key == Py_True || key == Py_False || key == Py_None || PyLong_Check(key) || PyFloat_Check(key);
    if (!scalar) {
        return fail(encoder, level, "TypeError", "a key must be str, int, float, bool or None");
    }
    return append(encoder, level, "\"", 1) && write_value(encoder, key, level) && append(encoder, level, "\"", 1);
}

static bool write_item(struct encoder *encoder, struct level *level, PyObject *key, PyObject *value)
{
    level->key = key;
    return (level->index++ == 0 || append(encoder, level, ",", 1)) && write_key(encoder, key, level) &&
           append(encoder, level, ":", 1) && write_value(encoder, value, level);
}

static bool write_exact_dict(struct encoder *encoder, PyObject *dict, struct level *level)
{
    Py_ssize_t position = 0;
    Py_ssize_t size = PyDict_Size(dict);
    PyObject *key;
    PyObject *value;
    while (PyDict_Next(dict, &position, &key, &value)) {
        Py_INCREF(key); /* code of the values may change the dict */
        Py_INCREF(value);
        bool good = write_item(encoder, level, key, value);
        Py_DECREF(value);
        Py_DECREF(key);
        if (!good) {
            return false;
        }
        if (PyDict_Size(dict) != size) {
            return fail(encoder, level, "RuntimeError", "the dict changed its size while it was written");
        }
    }
    return true;
}

/* A subclass decides by its items(), as with `json`: OrderedDict keeps another order than its base. */
static bool write_mapping(struct encoder *encoder, PyObject *dict, struct level *level)
{
    PyObject *items = PyObject_CallMethod(dict, "items", NULL);
    PyObject *list = items != NULL ? PySequence_List(items) : NULL;
    Py_XDECREF(items);
    if (list == NULL) {
        return fail_raised(encoder, level->outer);
    }
    bool good = true;
    for (Py_ssize_t i = 0; good && i < PyList_Size(list); i++) {
        PyObject *item = PyList_GetItem(list, i); /* borrowed; the list is ours alone */
        if (!PyTuple_Check(item) || PyTuple_Size(item) != 2) {
            good = fail(encoder, level->outer, "ValueError", "items() of a dict subclass must give pairs");
        } else {
            good = write_item(encoder, level, PyTuple_GetItem(item, 0), PyTuple_GetItem(item, 1));
        }
    }
    Py_DECREF(list);
    return good;
}

static bool write_dict(struct encoder *encoder, PyObject *dict, struct level *level)
{
    if (!append(encoder, level->outer, "{", 1)) {
        return false;
    }
    bool good =
        Py_TYPE(dict) == &PyDict_Type ? write_exact_dict(encoder, dict, level) : write_mapping(encoder, dict, level);
    return good && append(encoder, level->outer, "}", 1);
}

static bool write_list(struct encoder *encoder, PyObject *list, struct level *level)
{
    bool is_list = PyList_Check(list);
    bool good = append(encoder, level->outer, "[", 1);
    for (; good && level->index < (is_list ? PyList_Size(list) : PyTuple_Size(list)); level->index++) {
        PyObject *item = is_list ? PyList_GetItem(list, level->index) : PyTuple_GetItem(list, level->index);
        Py_INCREF(item); /* code of the items may change the list */
        good = (level->index == 0 || append(encoder, level, ",", 1)) && write_value(encoder, item, level);
        Py_DECREF(item);
    }
    return good && append(encoder, level->outer, "]", 1);
}

static bool is_circular(PyObject *object, const struct level *level)
{
    for (; level != NULL; level = level->outer) {
        if (level->container == object) {
            return true;
        }
    }
    return false;
}

static bool write_container(struct encoder *encoder, PyObject *object, const struct level *outer)
{
    struct level level = {.outer = outer, .container = object, .depth = outer != NULL ? outer->depth + 1 : 1};
    if (level.depth > DEPTH_MAX) {
        return fail(encoder, outer, "ValueError",
                    is_circular(object, outer) ? "circular reference" : "more than 1000 levels of nesting");
    }
    return PyDict_Check(object) ? write_dict(encoder, object, &level) : write_list(encoder, object, &level);
}

/* Whatever `json` does not know. The conversion is a level of its own, so one that gives itself again and again ends.
 */
static bool write_converted(struct encoder *encoder, PyObject *object, const struct level *outer)
{
    struct level level = {
        .outer = outer, .container = object, .index = CONVERSION, .depth = outer != NULL ? outer->depth + 1 : 1};
    if (level.depth > DEPTH_MAX) {
        return fail(encoder, outer, "ValueError", "more than 1000 levels of nesting");
    }
    PyObject *replacement = convert(object);
    if (replacement == NULL) {
        return fail_raised(encoder, outer);
    }
    bool good = write_value(encoder, replacement, &level);
    Py_DECREF(replacement);
    return good;
}

static bool write_value(struct encoder *encoder, PyObject *object, const struct level *outer)
{
    if (PyUnicode_Check(object)) {
        return write_str(encoder, object, outer);
    }
    if (object == Py_True) {
        return append(encoder, outer, "true", 4);
    }
    if (object == Py_False) {
        return append(encoder, outer, "false", 5);
    }
    if (object == Py_None) {
        return append(encoder, outer, "null", 4);
    }
    if (PyLong_Check(object)) {
        return write_int(encoder, object, outer);
    }
    if (PyFloat_Check(object)) {
        return write_float(encoder, object, outer);
    }
    if (PyDict_Check(object) || PyList_Check(object) || PyTuple_Check(object)) {
        return write_container(encoder, object, outer);
    }
    return write_converted(encoder, object, outer);
}

bool encode(PyObject *object, const char *root, struct buffer *out, struct error *err)
{
    struct encoder encoder = {.out = out, .root = root, .err = err};
    size_t before = out->size;
    if (write_value(&encoder, object, NULL)) {
        return true;
    }
    out->size = before;
    return false;
}
