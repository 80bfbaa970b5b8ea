#include "python/command.h"

#include "codec/pyabi.h"
#include "python/object.h"
#include "wire/dotpath.h"

/* ---- paths --------------------------------------------------------------------------------------------------------
 */

static PyObject *command_integer_or_none(bool there, int64_t value)
{
    if (!there) {
        return object_none();
    }
    return PyLong_FromLongLong(value);
}

/* What stands between the brackets. New reference. */
static PyObject *command_key_of(const struct dotpath_step *step)
{
    if (step->kind == DOTPATH_KEY) {
        return PyUnicode_FromStringAndSize(step->key.data, (Py_ssize_t)step->key.size);
    }
    if (step->kind == DOTPATH_INDEX) {
        return PyLong_FromLongLong(step->index);
    }
    PyObject *start = command_integer_or_none(step->has_start, step->index);
    PyObject *stop = command_integer_or_none(step->has_stop, step->stop);
    PyObject *slice = start != NULL && stop != NULL ? PySlice_New(start, stop, NULL) : NULL;
    Py_XDECREF(stop);
    Py_XDECREF(start);
    return slice;
}

/* SET makes the members of a dict that are missing on the way. */
static int command_make_member(PyObject *node, PyObject *key)
{
    if (!PyDict_Check(node)) {
        return 0;
    }
    int present = PyDict_Contains(node, key);
    PyObject *made = present == 0 ? PyDict_New() : NULL;
    int status = present == 1 ? 0 : made != NULL ? PyDict_SetItem(node, key, made) : -1;
    Py_XDECREF(made);
    return status;
}

/* Follows the first `count` steps from `node`, which is borrowed. New reference, or NULL with the exception. */
static PyObject *command_follow(PyObject *node, const struct dotpath *path, size_t count, bool make)
{
    Py_INCREF(node);
    for (size_t i = 0; node != NULL && i < count; i++) {
        PyObject *key = command_key_of(&path->steps[i]);
        PyObject *below = NULL;
        if (key != NULL && (!make || command_make_member(node, key) == 0)) {
            below = PyObject_GetItem(node, key);
        }
        Py_XDECREF(key);
        Py_DECREF(node);
        node = below;
    }
    return node;
}

static int command_raise_parse_error(const struct error *err)
{
    PyErr_SetString(strcmp(err->type, "PermissionError") == 0 ? PyExc_PermissionError : PyExc_ValueError, err->text);
    return -1;
}

static int command_parse(enum dotpath_verb verb, PyObject *text, struct dotpath *ret_path)
{
    Py_ssize_t size;
    struct error err;
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "Path must be a string: %R", text);
        return -1;
    }
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &size);
    if (bytes == NULL) {
        return -1;
    }
    return dotpath_parse(verb, (struct view){bytes, (size_t)size}, ret_path, &err) ? 0
                                                                                   : command_raise_parse_error(&err);
}

/* ---- verbs --------------------------------------------------------------------------------------------------------
 */

static PyObject *command_get(PyObject *fields, PyObject *text)
{
    struct dotpath path;
    PyObject *found =
        command_parse(DOTPATH_GET, text, &path) == 0 ? command_follow(fields, &path, path.count, false) : NULL;
    PyObject *copy = found != NULL ? object_deep_copy(found) : NULL;
    Py_XDECREF(found);
    return copy;
}

/* `.route.next`, or something in it: nothing else below .route can be written. */
static bool command_is_in_next(const struct dotpath *path)
{
    return path->count >= 2 && path->steps[0].key.size == 5 && memcmp(path->steps[0].key.data, "route", 5) == 0;
}

static bool command_names_list(const struct dotpath *path) { return path->count == 2 && command_is_in_next(path); }

/* `.headers` or `.status` itself. */
static bool command_names_dict(const struct dotpath *path) { return path->count == 1; }

/* The route stays a list of names: anything else in it would end the message's way, or lead it nowhere, without a word.
 * So an index takes a name, and the whole and a slice a list or tuple of names. Returns 0, or -1 with TypeError. */
static int command_check_next(const struct dotpath *path, PyObject *value)
{
    if (path->steps[path->count - 1].kind == DOTPATH_INDEX) {
        if (PyUnicode_Check(value)) {
            return 0;
        }
        PyErr_Format(PyExc_TypeError, "an entry of .route.next must be a str, not %R", (PyObject *)Py_TYPE(value));
        return -1;
    }
    if (!PyList_Check(value) && !PyTuple_Check(value)) {
        PyErr_Format(PyExc_TypeError, ".route.next must be a list of str, not %R", (PyObject *)Py_TYPE(value));
        return -1;
    }
    PyObject *names = PySequence_List(value);
    Py_ssize_t count = names != NULL ? PyList_Size(names) : -1;
    Py_ssize_t i = 0;
    while (i < count && PyUnicode_Check(PyList_GetItem(names, i))) {
        i++;
    }
    if (i < count) {
        PyErr_Format(PyExc_TypeError, ".route.next must be a list of str, but entry %zd is %R", i,
                     (PyObject *)Py_TYPE(PyList_GetItem(names, i)));
    }
    Py_XDECREF(names);
    return i == count ? 0 : -1;
}

/* What frames are made of stays what it is, a list and two dicts, whatever a SET or DEL of the whole gives: a DEL, and
 * None for the dicts, leaves an empty one. Takes `value` over, which may be NULL. New reference, or NULL with an
 * exception. */
static PyObject *command_whole(const struct dotpath *path, PyObject *value)
{
    bool is_list = command_names_list(path);
    PyObject *whole = NULL;
    if (value == NULL || value == Py_None) {
        whole = is_list ? PyList_New(0) : PyDict_New();
    } else if (is_list) {
        whole = PySequence_List(value);
    } else if (PyDict_Check(value)) {
        whole = object_own(value);
    } else {
        PyErr_Format(PyExc_TypeError, "headers and status must be a dict, not %R", (PyObject *)Py_TYPE(value));
    }
    Py_XDECREF(value);
    return whole;
}

/* SET, or DEL for a NULL value. None, or NULL. */
static PyObject *command_change(PyObject *fields, PyObject *text, PyObject *value)
{
    struct dotpath path;
    if (command_parse(value != NULL ? DOTPATH_SET : DOTPATH_DEL, text, &path) != 0) {
        return NULL;
    }
    if (value != NULL && command_is_in_next(&path) && command_check_next(&path, value) != 0) {
        return NULL;
    }
    bool is_whole = command_names_list(&path) || command_names_dict(&path);
    PyObject *copy = value != NULL ? object_deep_copy(value) : NULL;
    if (value == NULL || copy != NULL) {
        copy = is_whole ? command_whole(&path, copy) : copy;
    }
    bool is_ready = copy != NULL || (value == NULL && !is_whole);
    PyObject *owner = is_ready ? command_follow(fields, &path, path.count - 1, value != NULL) : NULL;
    PyObject *key = owner != NULL ? command_key_of(&path.steps[path.count - 1]) : NULL;
    int status = -1;
    if (key != NULL) {
        status = copy != NULL ? PyObject_SetItem(owner, key, copy) : PyObject_DelItem(owner, key);
    }
    Py_XDECREF(key);
    Py_XDECREF(owner);
    Py_XDECREF(copy);
    if (status != 0) {
        return NULL;
    }
    return object_none();
}

enum verb { VERB_GET, VERB_SET, VERB_DEL, VERB_FLY, VERBS, VERB_UNKNOWN = VERBS };

static enum verb command_verb_of(PyObject *item)
{
    static const char *const names[VERBS] = {"GET", "SET", "DEL", "FLY"};
    PyObject *verb = PyTuple_GetItem(item, 0);
    for (int i = 0; PyUnicode_Check(verb) && i < VERBS; i++) {
        if (PyUnicode_CompareWithASCIIString(verb, names[i]) == 0) {
            return i == VERB_SET && PyTuple_Size(item) < 3 ? VERB_UNKNOWN : (enum verb)i;
        }
    }
    return VERB_UNKNOWN;
}

/* The answer to GET, SET or DEL: new reference, or NULL with the exception. */
static PyObject *command_carry_out(struct envelope *envelope, enum verb verb, PyObject *item)
{
    PyObject *fields = envelope_fields(envelope);
    PyObject *path = PyTuple_GetItem(item, 1);
    if (fields == NULL || path == NULL) {
        return NULL;
    }
    return verb == VERB_GET ? command_get(fields, path)
                            : command_change(fields, path, verb == VERB_SET ? PyTuple_GetItem(item, 2) : NULL);
}

enum command command_take(struct envelope *envelope, PyObject *item, PyObject **ret_value)
{
    if (item == Py_None) {
        return COMMAND_NONE;
    }
    if (!PyTuple_Check(item) || PyTuple_Size(item) < 2) {
        return COMMAND_FRAME;
    }
    enum verb verb = command_verb_of(item);
    if (verb == VERB_UNKNOWN) {
        if (envelope->form != ROUTE_HOPS) {
            return COMMAND_FRAME;
        }
        PyErr_Format(PyExc_RuntimeError, "ABI protocol error: unknown verb %R", PyTuple_GetItem(item, 0));
        return COMMAND_FAILED;
    }
    if (verb == VERB_FLY) {
        *ret_value = PyTuple_GetItem(item, 1);
        Py_INCREF(*ret_value);
        return COMMAND_FLY;
    }
    *ret_value = command_carry_out(envelope, verb, item);
    return *ret_value != NULL ? COMMAND_DONE : COMMAND_FAILED;
}
