#include "python/fly.h"

#include "python/object.h"

PyDoc_STRVAR(text_doc,
             "fly_text(text, artifact_id='stream-0', last=False)\n--\n\n"
             "A piece of text for a client that reads along, as in: yield 'FLY', fly_text('a'). `last` says that\n"
             "no more comes for this artifact.");

static PyObject *fly_text(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"text", "artifact_id", "last", NULL};
    (void)self;
    PyObject *text;
    PyObject *artifact = NULL;
    int last = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "U|Up:fly_text", names, &text, &artifact, &last)) {
        return NULL;
    }
    PyObject *id = artifact != NULL ? object_own(artifact) : PyUnicode_FromString("stream-0");
    if (id == NULL) {
        return NULL;
    }
    return Py_BuildValue("{s{s{sNs[{sO}]}sOsO}}", "artifact_update", "artifact", "artifact_id", id, "parts", "text",
                         text, "append", Py_True, "last_chunk", last != 0 ? Py_True : Py_False);
}

PyDoc_STRVAR(status_doc, "fly_status(message)\n--\n\n"
                         "A line about how far the work is, as in: yield 'FLY', fly_status('reading the model').");

static PyObject *fly_status(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"message", NULL};
    (void)self;
    PyObject *message;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "U:fly_status", names, &message)) {
        return NULL;
    }
    return Py_BuildValue("{s{s{sss{sss[{sO}]}}}}", "status_update", "status", "state", "WORKING", "message", "role",
                         "agent", "parts", "text", message);
}

static PyMethodDef methods[] = {
    {"fly_text", (PyCFunction)(void (*)(void))fly_text, METH_VARARGS | METH_KEYWORDS, text_doc},
    {"fly_status", (PyCFunction)(void (*)(void))fly_status, METH_VARARGS | METH_KEYWORDS, status_doc},
    {NULL, NULL, 0, NULL},
};

int fly_add(PyObject *module) { return PyModule_AddFunctions(module, methods); }
