#include "codec/collector.h"

#include "codec/pyabi.h"

/* CPython below 3.10 has no function for it: call gc.NAME(). The truth of the result; false if anything fails. */
static bool collector_call_gc(const char *name)
{
    PyObject *module = PyImport_ImportModule("gc");
    PyObject *result = module != NULL ? PyObject_CallMethod(module, name, NULL) : NULL;
    bool truth = result != NULL && PyObject_IsTrue(result) == 1;
    Py_XDECREF(result);
    Py_XDECREF(module);
    PyErr_Clear();
    return truth;
}

bool collector_pause(void)
{
    if (PyGC_Disable != NULL && PyGC_Enable != NULL) {
        return PyGC_Disable() != 0;
    }
    if (!collector_call_gc("isenabled")) {
        return false;
    }
    collector_call_gc("disable");
    return true;
}

void collector_resume(void)
{
    if (PyGC_Disable != NULL && PyGC_Enable != NULL) {
        PyGC_Enable();
    } else {
        collector_call_gc("enable");
    }
}
