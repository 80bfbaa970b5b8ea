#include "python/scope.h"

#include "codec/pyabi.h"
#include "python/object.h"

#include <string.h>

static PyObject *base; /* the context after set-up; never changed, since nothing runs in it */
static PyObject *copy; /* Context.copy and Context.run */
static PyObject *run;

/* decimal.getcontext() hands out an object to be changed, which copies of a context would share. So where set-up has
 * used one, each call gets a copy of that object. Otherwise decimal makes one for each call by itself, and these are
 * NULL. */
static PyObject *copy_decimal;
static PyObject *set_decimal;

static PyObject *scope_step(PyObject *self, PyObject *arguments)
{
    (void)arguments;
    struct scope *scope = PyCapsule_GetPointer(self, NULL);
    scope_work *work = scope->work;
    void *argument = scope->argument;
    scope->work = NULL;
    work(argument);
    return object_none();
}

static bool scope_is_of_decimal(PyObject *variable)
{
    PyObject *name = PyObject_GetAttrString(variable, "name");
    bool is = name != NULL && PyUnicode_CompareWithASCIIString(name, "decimal_context") == 0;
    PyErr_Clear();
    Py_XDECREF(name);
    return is;
}

/* 0, or -1 with an exception. */
static int scope_find_decimal(void)
{
    PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), "decimal"); /* borrowed */
    PyObject *variables = module != NULL ? PySequence_List(base) : NULL;
    Py_ssize_t count = variables != NULL ? PyList_Size(variables) : 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *variable = PyList_GetItem(variables, i); /* borrowed */
        if (scope_is_of_decimal(variable)) {
            PyObject *held = PyObject_GetItem(base, variable);
            copy_decimal = held != NULL ? PyObject_GetAttrString(held, "copy") : NULL;
            set_decimal = PyObject_GetAttrString(module, "setcontext");
            Py_XDECREF(held);
        }
    }
    Py_XDECREF(variables);
    return PyErr_Occurred() != NULL ? -1 : 0;
}

int scope_begin(void)
{
    PyObject *module = PyImport_ImportModule("_contextvars");
    PyObject *type = module != NULL ? PyObject_GetAttrString(module, "Context") : NULL;
    base = type != NULL ? PyObject_CallMethod(module, "copy_context", NULL) : NULL;
    copy = base != NULL ? PyObject_GetAttrString(type, "copy") : NULL;
    run = copy != NULL ? PyObject_GetAttrString(type, "run") : NULL;
    Py_XDECREF(type);
    Py_XDECREF(module);
    return run != NULL ? scope_find_decimal() : -1;
}

int scope_open(struct scope *scope)
{
    static PyMethodDef method = {"step", scope_step, METH_NOARGS, NULL};
    PyObject *capsule = PyCapsule_New(scope, NULL, NULL);
    scope->step = capsule != NULL ? PyCFunction_New(&method, capsule) : NULL;
    Py_XDECREF(capsule);
    return scope->step != NULL ? 0 : -1;
}

void scope_run_in(struct scope *scope, PyObject *context, scope_work *work, void *argument)
{
    scope->work = work;
    scope->argument = argument;
    PyObject *done = context != NULL ? PyObject_CallFunctionObjArgs(run, context, scope->step, NULL) : NULL;
    Py_XDECREF(done);
    if (scope->work != NULL) { /* the context could not be entered */
        PyErr_Clear();
        scope->work = NULL;
        work(argument);
    }
}

/* Gives `context` a copy of decimal's context as set-up has left it. */
static void scope_renew_decimal(PyObject *context)
{
    PyObject *fresh = PyObject_CallFunctionObjArgs(copy_decimal, NULL);
    PyObject *set = fresh != NULL ? PyObject_CallFunctionObjArgs(run, context, set_decimal, fresh, NULL) : NULL;
    PyErr_Clear();
    Py_XDECREF(set);
    Py_XDECREF(fresh);
}

PyObject *scope_run(struct scope *scope, scope_work *work, void *argument)
{
    PyObject *context = PyObject_CallFunctionObjArgs(copy, base, NULL);
    if (context == NULL) {
        PyErr_Clear();
    } else if (set_decimal != NULL) {
        scope_renew_decimal(context);
    }
    scope_run_in(scope, context, work, argument);
    return context;
}
