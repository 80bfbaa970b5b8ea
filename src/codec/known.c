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

/* A subclass decides by its items(), as with `json`: OrderedDict keeps another order than its base. */
static unsigned char *known_open_mapping(struct encoder *e, unsigned char *at, PyObject *dict)
{
    PyObject *items = PyObject_CallMethod(dict, "items", NULL);
    PyObject *list = items != NULL ? PySequence_List(items) : NULL;
    Py_XDECREF(items);
    return known_open_made(e, at, dict, list, FORM_PAIRS);
}

/* pydantic 2; mode="json" lets the model's own serialisers decide. */
static PyObject *known_dump_model(PyObject *model)
{
    PyObject *method = PyObject_GetAttrString(model, "model_dump");
    PyObject *none = method != NULL ? PyTuple_New(0) : NULL;
    PyObject *how = none != NULL ? Py_BuildValue("{s:s}", "mode", "json") : NULL;
    PyObject *dump = how != NULL ? PyObject_Call(method, none, how) : NULL;
    Py_XDECREF(how);
    Py_XDECREF(none);
    Py_XDECREF(method);
    return dump;
}

/* What stands for an object of one of these kinds. New reference, or NULL with an exception. */
static PyObject *known_stand_in(PyObject *object, enum type_kind kind)
{
    switch (kind) {
    case TYPE_MODEL:
        return known_dump_model(object);
    case TYPE_MODEL_1:
        return PyObject_CallMethod(object, "dict", NULL);
    case TYPE_ENUM:
        return PyObject_GetAttrString(object, "value");
    case TYPE_ISOFORMAT:
        return PyObject_CallMethod(object, "isoformat", NULL);
    case TYPE_TEXT:
        return PyObject_Str(object);
    case TYPE_BYTES: /* a memoryview in more than one piece */
        return PyObject_CallMethod(object, "tobytes", NULL);
    default:
        return PyObject_CallMethod(object, "tolist", NULL);
    }
}

static void *known_replace(struct encoder *e, PyObject *object, enum type_kind kind, PyObject **ret_stand_in)
{
    PyObject *found = known_stand_in(object, kind);
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
    return known_replace(e, object, TYPE_TOLIST, ret_stand_in);
}

static unsigned char *known_write_bytes(struct encoder *e, unsigned char *at, PyObject *object, PyObject **ret_stand_in)
{
    unsigned char *next = scalar_bytes(e, at, object);
    if (next == NULL && PyErr_Occurred() != NULL) {
        PyErr_Clear();
        return known_replace(e, object, TYPE_BYTES, ret_stand_in);
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
        return known_open_made(e, at, object, type.names, FORM_FIELDS);
    case TYPE_SET:
        return known_open_made(e, at, object, PySequence_List(object), FORM_LIST);
    case TYPE_ARRAY:
        return known_write_array(e, at, object, ret_stand_in);
    case TYPE_BYTES:
        return known_write_bytes(e, at, object, ret_stand_in);
    default:
        return known_replace(e, object, type.kind, ret_stand_in);
    }
}
