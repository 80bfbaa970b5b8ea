#include "python/signature.h"

#include "base/text.h"
#include "python/failure.h"
#include "python/raised.h"

#include <stdio.h>
#include <string.h>

/* inspect.CO_* */
enum { FLAG_VARARGS = 0x04, FLAG_VARKEYWORDS = 0x08 };

enum { NAME_SIZE = 128 };

/* What a function written in Python says of its parameters. Read here, since importing inspect takes 8 ms of the
 * start. */
struct parameters {
    PyObject *names;         /* co_varnames, owned: positional ones first, then keyword-only ones */
    PyObject *keyword_given; /* __kwdefaults__, owned; may be NULL */
    long positional;
    long keyword_only;
    long defaults; /* of the positional ones */
    long flags;
    long bound; /* filled already: 1 for a method's self */
};

static long signature_long_attribute(PyObject *object, const char *name)
{
    PyObject *value = PyObject_GetAttrString(object, name);
    long number = value != NULL && PyLong_Check(value) ? PyLong_AsLong(value) : 0;
    PyErr_Clear();
    Py_XDECREF(value);
    return number;
}

/* Fills `ret_parameters` from a function that has code. False where it has none. */
static bool signature_parameters_of_code(PyObject *function, long bound, struct parameters *ret_parameters)
{
    PyObject *code = PyObject_GetAttrString(function, "__code__");
    PyObject *defaults = code != NULL ? PyObject_GetAttrString(function, "__defaults__") : NULL;
    PyObject *names = code != NULL ? PyObject_GetAttrString(code, "co_varnames") : NULL;
    bool known = names != NULL && PyTuple_Check(names);
    PyErr_Clear();
    if (known) {
        *ret_parameters = (struct parameters){
            .names = names,
            .keyword_given = PyObject_GetAttrString(function, "__kwdefaults__"),
            .positional = signature_long_attribute(code, "co_argcount"),
            .keyword_only = signature_long_attribute(code, "co_kwonlyargcount"),
            .defaults = defaults != NULL && PyTuple_Check(defaults) ? (long)PyTuple_Size(defaults) : 0,
            .flags = signature_long_attribute(code, "co_flags"),
            .bound = bound,
        };
        PyErr_Clear();
    } else {
        Py_XDECREF(names);
    }
    Py_XDECREF(defaults);
    Py_XDECREF(code);
    return known;
}

/* A function, a method, or an instance whose class has a __call__ written in Python. */
static bool signature_parameters_of(PyObject *function, struct parameters *ret_parameters)
{
    if (signature_parameters_of_code(function, 0, ret_parameters)) {
        PyObject *self = PyObject_GetAttrString(function, "__self__"); /* a method passes on what its function has */
        PyErr_Clear();
        ret_parameters->bound = self != NULL;
        Py_XDECREF(self);
        return true;
    }
    PyObject *call = PyObject_GetAttrString((PyObject *)Py_TYPE(function), "__call__");
    bool known = call != NULL && signature_parameters_of_code(call, 1, ret_parameters);
    PyErr_Clear();
    Py_XDECREF(call);
    return known;
}

static void signature_parameters_done(struct parameters *parameters)
{
    Py_XDECREF(parameters->names);
    Py_XDECREF(parameters->keyword_given);
}

static void signature_name_at(const struct parameters *parameters, long place, char name[NAME_SIZE])
{
    name[0] = '\0';
    if (place < (long)PyTuple_Size(parameters->names)) {
        (void)failure_text_of(PyTuple_GetItem(parameters->names, (Py_ssize_t)place), name, NAME_SIZE);
    }
    PyErr_Clear();
}

/* The first keyword-only parameter that has no default. */
static bool signature_find_required_keyword(const struct parameters *parameters, char name[NAME_SIZE])
{
    for (long i = 0; i < parameters->keyword_only; i++) {
        PyObject *key = PyTuple_GetItem(parameters->names, (Py_ssize_t)(parameters->positional + i)); /* borrowed */
        bool given = parameters->keyword_given != NULL && PyDict_Check(parameters->keyword_given) && key != NULL &&
                     PyDict_GetItem(parameters->keyword_given, key) != NULL;
        PyErr_Clear();
        if (!given) {
            signature_name_at(parameters, parameters->positional + i, name);
            return true;
        }
    }
    return false;
}

static bool signature_judge(const struct parameters *parameters, char *reason, size_t size)
{
    char name[NAME_SIZE];
    long places = parameters->positional - parameters->bound;
    long required = places - parameters->defaults;
    if (places <= 0 && (parameters->flags & FLAG_VARARGS) == 0) {
        if (parameters->bound > 0) {
            (void)snprintf(reason, size,
                           "takes no argument beside the instance, but is called with one, the payload: "
                           "write it as (self, payload)");
        } else {
            (void)snprintf(reason, size, "takes %s, but is called with one argument, the payload",
                           (parameters->flags & FLAG_VARKEYWORDS) != 0 || parameters->keyword_only > 0
                               ? "keyword arguments only"
                               : "no argument");
        }
        return false;
    }
    if (required > 1) {
        signature_name_at(parameters, parameters->bound + 1, name);
        (void)snprintf(reason, size, "needs %ld arguments, but is called with one, the payload: give '%s'%s a default",
                       required, name, required > 2 ? " and those after it" : "");
        return false;
    }
    if (signature_find_required_keyword(parameters, name)) {
        (void)snprintf(reason, size,
                       "needs the keyword argument '%s', but is called with one argument, the payload: "
                       "give it a default",
                       name);
        return false;
    }
    return true;
}

/* Anything else that can be called (functools.partial and the like) is left to inspect. */
static bool signature_judge_by_inspect(PyObject *function, char *reason, size_t size)
{
    PyObject *inspect = PyImport_ImportModule("inspect");
    PyObject *signature = inspect != NULL ? PyObject_CallMethod(inspect, "signature", "(O)", function) : NULL;
    PyErr_Clear(); /* it has no signature that can be seen */
    PyObject *bound = signature != NULL ? PyObject_CallMethod(signature, "bind", "(O)", Py_None) : NULL;
    bool fits = signature == NULL || bound != NULL || PyErr_ExceptionMatches(PyExc_TypeError) == 0;
    if (!fits) {
        char text[256];
        struct raised raised = raised_take();
        (void)failure_text_of(raised.value, text, sizeof text);
        (void)snprintf(reason, size, "cannot be called with one argument, the payload: %s", text);
        raised_done(&raised);
    }
    PyErr_Clear();
    Py_XDECREF(bound);
    Py_XDECREF(signature);
    Py_XDECREF(inspect);
    return fits;
}

/* The first public method that the class itself has, for an example. False: it has none. */
static bool signature_find_method(PyObject *class, char name[NAME_SIZE])
{
    PyObject *members = PyObject_GetAttrString(class, "__dict__");
    PyObject *names = members != NULL ? PyObject_GetIter(members) : NULL;
    PyObject *key = NULL;
    bool found = false;
    while (!found && names != NULL && (key = PyIter_Next(names)) != NULL) {
        PyObject *member = PyObject_GetItem(members, key);
        PyObject *code = member != NULL ? PyObject_GetAttrString(member, "__code__") : NULL;
        found = code != NULL && failure_text_of(key, name, NAME_SIZE) > 0 && name[0] != '_';
        PyErr_Clear();
        Py_XDECREF(code);
        Py_XDECREF(member);
        Py_DECREF(key);
    }
    PyErr_Clear();
    Py_XDECREF(names);
    Py_XDECREF(members);
    return found;
}

static bool signature_refuse_class(PyObject *class, const char *path, char *reason, size_t size)
{
    char name[NAME_SIZE];
    PyObject *call = PyObject_GetAttrString(class, "__call__");
    PyObject *code = call != NULL ? PyObject_GetAttrString(call, "__code__") : NULL;
    PyErr_Clear();
    if (code != NULL || !signature_find_method(class, name)) {
        text_copy(name, sizeof name, code != NULL ? "__call__" : "process");
    }
    (void)snprintf(
        reason, size,
        "is a class, and calling it would make an instance of each message: name a method of it, like '%s.%s', "
        "and it is made once",
        path, name);
    Py_XDECREF(code);
    Py_XDECREF(call);
    return false;
}

static bool signature_refuse_object(PyObject *object, char *reason, size_t size)
{
    char type[NAME_SIZE] = "";
    PyObject *name = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "__name__");
    if (name != NULL) {
        (void)failure_text_of(name, type, sizeof type);
    }
    PyErr_Clear();
    Py_XDECREF(name);
    (void)snprintf(reason, size, "is a %s, which cannot be called", type);
    return false;
}

bool signature_takes_payload(PyObject *function, const char *path, char *reason, size_t size)
{
    struct parameters parameters;
    if (!PyCallable_Check(function)) {
        return signature_refuse_object(function, reason, size);
    }
    if (PyType_Check(function)) {
        return signature_refuse_class(function, path, reason, size);
    }
    if (!signature_parameters_of(function, &parameters)) {
        return signature_judge_by_inspect(function, reason, size);
    }
    bool fits = signature_judge(&parameters, reason, size);
    signature_parameters_done(&parameters);
    return fits;
}
