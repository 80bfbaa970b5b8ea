#include "python/shape.h"

#include "codec/pyabi.h"

/* inspect.CO_* */
enum { FLAG_COROUTINE = 0x80, FLAG_ITERABLE_COROUTINE = 0x100, FLAG_ASYNC_GENERATOR = 0x200 };

enum { WRAPPERS_MAX = 16 }; /* partials of partials */

/* The attribute, a new reference; NULL, and no exception, where there is none. The object may find it with code of its
 * own, which must not run while an exception is set: its result would be a SystemError. */
static PyObject *shape_find(PyObject *object, const char *name)
{
    PyObject *found = PyObject_GetAttrString(object, name);
    if (found == NULL) {
        PyErr_Clear();
    }
    return found;
}

static bool shape_has(PyObject *object, const char *name)
{
    PyObject *found = shape_find(object, name);
    Py_XDECREF(found);
    return found != NULL;
}

/* co_flags of the code object that is the attribute `name`; 0 where there is none. */
static long shape_code_flags(PyObject *object, const char *name)
{
    PyObject *code = PyObject_GetAttrString(object, name);
    PyObject *flags = code != NULL ? PyObject_GetAttrString(code, "co_flags") : NULL;
    long value = flags != NULL && PyLong_Check(flags) ? PyLong_AsLong(flags) : 0;
    PyErr_Clear();
    Py_XDECREF(flags);
    Py_XDECREF(code);
    return value;
}

/* Objects of other makers (Cython, asyncio), by what their class has. */
static enum shape shape_by_methods(PyObject *class)
{
    if (shape_has(class, "__await__")) {
        return SHAPE_AWAITABLE;
    }
    if (shape_has(class, "__anext__") && shape_has(class, "asend")) {
        return SHAPE_ASYNC_GENERATOR;
    }
    return shape_has(class, "__next__") && shape_has(class, "send") && shape_has(class, "throw") ? SHAPE_GENERATOR
                                                                                                 : SHAPE_VALUE;
}

enum shape shape_of(PyObject *returned)
{
    PyTypeObject *type = Py_TYPE(returned);
    const unsigned long json = Py_TPFLAGS_LONG_SUBCLASS | Py_TPFLAGS_LIST_SUBCLASS | Py_TPFLAGS_TUPLE_SUBCLASS |
                               Py_TPFLAGS_BYTES_SUBCLASS | Py_TPFLAGS_UNICODE_SUBCLASS | Py_TPFLAGS_DICT_SUBCLASS;
    if ((PyType_GetFlags(type) & json) != 0 || returned == Py_None || type == &PyFloat_Type) {
        return SHAPE_VALUE;
    }
    if (type == &PyCoro_Type) {
        return SHAPE_AWAITABLE;
    }
    if (type == &PyGen_Type) {
        return (shape_code_flags(returned, "gi_code") & FLAG_ITERABLE_COROUTINE) != 0 ? SHAPE_AWAITABLE
                                                                                      : SHAPE_GENERATOR;
    }
    if (type == &PyAsyncGen_Type) {
        return SHAPE_ASYNC_GENERATOR;
    }
    return PyType_Check(returned) ? SHAPE_VALUE : shape_by_methods((PyObject *)type);
}

/* What `object` only wraps: new reference, or NULL. */
static PyObject *shape_wrapped_by(PyObject *object)
{
    PyObject *inner = shape_find(object, "__func__"); /* a method */
    if (inner == NULL && shape_has(object, "func") && shape_has(object, "keywords")) {
        inner = shape_find(object, "func"); /* functools.partial */
    }
    if (inner == NULL && !PyType_Check(object) && !shape_has(object, "__code__")) {
        PyObject *call = shape_find((PyObject *)Py_TYPE(object), "__call__"); /* an instance */
        if (call != NULL && shape_has(call, "__code__")) {
            return call;
        }
        Py_XDECREF(call);
    }
    return inner;
}

PyObject *shape_unwrap(PyObject *function)
{
    Py_INCREF(function);
    for (int i = 0; i < WRAPPERS_MAX; i++) {
        PyObject *inner = shape_wrapped_by(function);
        if (inner == NULL) {
            break;
        }
        Py_DECREF(function);
        function = inner;
    }
    return function;
}

bool shape_is_async(PyObject *function)
{
    PyObject *inner = shape_unwrap(function);
    bool is =
        (shape_code_flags(inner, "__code__") & (FLAG_COROUTINE | FLAG_ITERABLE_COROUTINE | FLAG_ASYNC_GENERATOR)) != 0;
    Py_DECREF(inner);
    return is;
}
