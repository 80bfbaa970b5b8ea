#include "python/member.h"

#include <string.h>

static PyObject *member_names[MEMBERS];

bool member_make_names(void)
{
    const char *text =
        "actors\0curr\0current\0deadline_at\0headers\0id\0next\0parent_id\0payload\0prev\0route\0status\0"
        "steps\0traceparent\0tracestate"; /* in the order of the enumeration */
    for (int i = 0; i < MEMBERS; i++, text += strlen(text) + 1) {
        if ((member_names[i] = PyUnicode_FromString(text)) == NULL) {
            return false;
        }
        PyUnicode_InternInPlace(
            &member_names[i]); /* as the codec's keys are: then they are found without a comparison */
    }
    return true;
}

PyObject *member_name(enum member member) { return member_names[member]; }

PyObject *member_of(PyObject *object, enum member member)
{
    return object != NULL && PyDict_Check(object) ? PyDict_GetItem(object, member_names[member]) : NULL;
}

bool member_set(PyObject *dict, enum member member, PyObject *value)
{
    return PyDict_SetItem(dict, member_names[member], value) == 0;
}

bool member_set_new(PyObject *dict, enum member member, PyObject *value)
{
    bool done = value != NULL && member_set(dict, member, value);
    Py_XDECREF(value);
    return done;
}
