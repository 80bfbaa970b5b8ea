#include "codec/known.h"

#include "codec/frames.h"
#include "codec/scalar.h"
#include "codec/types.h"

/* Opens `object` (borrowed) to be walked by `items`: a new reference, or NULL with an exception. */
static unsigned char *known_open_made(struct encoder *e, unsigned char *at, PyObject *object, PyObject *items,
                                      enum form form)
{
    if (items == NULL) {
        return encoder_fail_raised(e);
    }
    Py_INCREF(object);
    return frames_open_owned(e, at, object, items, form);
}

/* Opens a subclass that is walked as its base is. */
static unsigned char *known_open_same(struct encoder *e, unsigned char *at, PyObject *object, enum form form)
{
    Py_INCREF(object);
    return known_open_made(e, at, object, object, form);
}

/* A subclass decides by the items() of its class, as with `json`: OrderedDict keeps another order than its base. (Not
 * the instance's: a dict that is its own __dict__ may have a key of that name.) */
static unsigned char *known_open_mapping(struct encoder *e, unsigned char *at, PyObject *dict)
{
    PyObject *method = PyObject_GetAttrString((PyObject *)Py_TYPE(dict), "items");
    PyObject *items = method != NULL ? PyObject_CallFunctionObjArgs(method, dict, NULL) : NULL;
    PyObject *list = items != NULL ? PySequence_List(items) : NULL;
    Py_XDECREF(items);
    Py_XDECREF(method);
    return known_open_made(e, at, dict, list, FORM_PAIRS);
}

/* What stands for an object of one of these kinds. New reference, or NULL with an exception. */
static PyObject *known_stand_in(PyObject *object, enum type_kind kind)
{
    switch (kind) {
    case TYPE_ENUM:
        return PyObject_GetAttrString(object, "value");
    case TYPE_ISOFORMAT:
        return PyObject_CallMethod(object, "isoformat", NULL);
    case TYPE_TEXT:
        return PyObject_Str(object);
    case TYPE_BYTES: /* a memoryview in more than one piece */
        return PyObject_CallMethod(object, "tobytes", NULL);
    default:
        return types_answer_to("listed", object);
    }
}

/* Calls the function that gives what stands for an object, and gives up the reference to it. */
static PyObject *known_give(PyObject *function, PyObject *object)
{
    PyObject *found = PyObject_CallFunctionObjArgs(function, object, NULL);
    Py_DECREF(function);
    return found;
}

/* Takes the reference to what stands for an object; NULL: an exception is set. */
static void *known_take(struct encoder *e, PyObject *object, PyObject *found, PyObject **ret_stand_in)
{
    if (found == NULL) {
        return encoder_fail_raised(e);
    }
    if (Py_TYPE(found) == Py_TYPE(object)) { /* numpy.longdouble has no other form, not even by tolist() */
        Py_DECREF(found);
        return encoder_fail_unknown_type(e, object);
    }
    *ret_stand_in = found;
    return NULL;
}

static unsigned char *known_write_array(struct encoder *e, unsigned char *at, PyObject *object, PyObject **ret_stand_in)
{
    struct workspace *work = e->work;
    switch (array_write(object, (int)(ENCODER_DEPTH_MAX - work->depth), &e->out, &at, &work->position)) {
    case ARRAY_WRITTEN:
        return at;
    case ARRAY_NOT_FINITE:
        e->in_array = true;
        return encoder_fail(e, "ValueError", "NaN and Infinity are no JSON numbers");
    case ARRAY_TOO_DEEP:
        return encoder_fail_deep(e);
    case ARRAY_FULL:
        return NULL;
    case ARRAY_FOREIGN:
        break;
    }
    return known_take(e, object, known_stand_in(object, TYPE_TOLIST), ret_stand_in);
}

static unsigned char *known_write_bytes(struct encoder *e, unsigned char *at, PyObject *object, PyObject **ret_stand_in)
{
    unsigned char *next = scalar_bytes(e, at, object);
    if (next == NULL && PyErr_Occurred() != NULL) {
        PyErr_Clear();
        return known_take(e, object, known_stand_in(object, TYPE_BYTES), ret_stand_in);
    }
    return next;
}

unsigned char *known_write(struct encoder *e, unsigned char *at, PyObject *object, PyObject **ret_stand_in)
{
    struct type type;
    *ret_stand_in = NULL;
    if (!types_find(object, &type)) {
        return encoder_fail_raised(e);
    }
    switch (type.kind) {
    case TYPE_UNKNOWN:
        return encoder_fail_unknown_type(e, object);
    case TYPE_STR:
        return scalar_text(e, at, object, TEXT_UNKNOWN);
    case TYPE_INT:
        return scalar_integer(e, at, object);
    case TYPE_FLOAT:
        return scalar_float(e, at, object);
    case TYPE_DICT:
        return known_open_mapping(e, at, object);
    case TYPE_LIST:
        return known_open_same(e, at, object, FORM_LIST);
    case TYPE_TUPLE:
        return known_open_same(e, at, object, FORM_TUPLE);
    case TYPE_FIELDS:
        return known_open_made(e, at, object, type.about, FORM_FIELDS);
    case TYPE_SET:
        return known_open_made(e, at, object, PySequence_List(object), FORM_LIST);
    case TYPE_ARRAY:
        return known_write_array(e, at, object, ret_stand_in);
    case TYPE_BYTES:
        return known_write_bytes(e, at, object, ret_stand_in);
    case TYPE_STAND_IN:
        return known_take(e, object, known_give(type.about, object), ret_stand_in);
    default:
        return known_take(e, object, known_stand_in(object, type.kind), ret_stand_in);
    }
}

unsigned char *known_key(struct encoder *e, PyObject *key)
{
    unsigned char *at = e->odd_key;
    e->odd_key = NULL;
    PyObject *found = frames_secure(e->work) ? types_answer_to("key_of", key) : NULL;
    if (found == NULL) {
        return encoder_fail_raised(e);
    }
    PyObject *plain = PyTuple_Check(found) && PyTuple_Size(found) == 1 ? PyTuple_GetItem(found, 0) : NULL;
    at = plain != NULL ? scalar_key(e, at, plain) : encoder_fail_key(e, key);
    if (e->odd_key != NULL) {
        e->odd_key = NULL;
        at = encoder_fail_key(e, key);
    }
    Py_DECREF(found);
    return at;
}
