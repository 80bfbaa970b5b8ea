#include "python/log.h"

#include "base/marks.h"
#include "python/glue.h"
#include "python/object.h"

#include <string.h>

static const char *const level_names[] = {"DEBUG", "INFO", "WARNING", "ERROR"};

static PyObject *names; /* what python/glue/log.py defines, once it has run */
static PyObject *finder;
static enum log_level wanted_level;
static enum log_format wanted_format;
static PyObject *(*find_context)(void);

/* context() of the glue */
static PyObject *function_log_context(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    return find_context();
}

static PyMethodDef context_method = {"context", function_log_context, METH_NOARGS, NULL};

/* level() of the glue: asked whenever it is needed, since it may change at any moment. */
static PyObject *function_log_level(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    return PyUnicode_FromString(level_names[wanted_level]);
}

/* write() of the glue, where sys.stderr is not this log: it would come back as what the function printed. */
static PyObject *function_log_write(PyObject *self, PyObject *text)
{
    (void)self;
    char *bytes;
    Py_ssize_t size;
    PyObject *encoded = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
    if (encoded == NULL || PyBytes_AsStringAndSize(encoded, &bytes, &size) != 0) {
        Py_XDECREF(encoded);
        return NULL;
    }
    log_record(LOG_LEVEL_INFO, (struct view){bytes, (size_t)size});
    Py_DECREF(encoded);
    return object_none();
}

static PyMethodDef write_method = {"write", function_log_write, METH_O, NULL};

static PyMethodDef level_method = {"level", function_log_level, METH_NOARGS, NULL};
static uint32_t own_worker;

/* What the glue finds in its globals. */
static bool function_log_add_names(PyObject *made)
{
    PyObject *event = PyUnicode_FromString(log_event_name(EVENT_FUNCTION_LOG));
    PyObject *worker = PyLong_FromLong((long)own_worker);
    PyObject *colours = PyTuple_New(log_has_colours() ? 4 : 0);
    for (int i = 0; colours != NULL && i < (int)PyTuple_Size(colours); i++) {
        (void)PyTuple_SetItem(colours, i, PyUnicode_FromString(log_colour((enum log_level)i)));
    }
    bool added = event != NULL && worker != NULL && colours != NULL && PyErr_Occurred() == NULL &&
                 PyDict_SetItemString(made, "EVENT", event) == 0 && PyDict_SetItemString(made, "WORKER", worker) == 0 &&
                 PyDict_SetItemString(made, "COLOURS", colours) == 0 && object_set_function(made, &context_method) &&
                 object_set_function(made, &level_method) &&
                 (!marks_are_on() || object_set_function(made, &write_method)) &&
                 PyDict_SetItemString(made, "JSON", wanted_format == LOG_JSON ? Py_True : Py_False) == 0;
    Py_XDECREF(colours);
    Py_XDECREF(worker);
    Py_XDECREF(event);
    return added;
}

/* Runs the glue, once. Borrowed, or NULL with an exception. */
static PyObject *function_log_glue_names(void)
{
    if (names != NULL) {
        return names;
    }
    PyObject *made = PyDict_New();
    if (made == NULL || !function_log_add_names(made) || glue_run(glue_log, "asya_runtime log", made) != 0) {
        Py_XDECREF(made);
        return NULL;
    }
    names = made;
    return names;
}

/* Calls what the glue defines. New reference, or NULL with an exception. */
static PyObject *function_log_glue_call(const char *name, PyObject *first, PyObject *second)
{
    PyObject *all = function_log_glue_names();
    PyObject *function = all != NULL ? PyDict_GetItemString(all, name) : NULL;
    return function != NULL ? PyObject_CallFunctionObjArgs(function, first, second, NULL) : NULL;
}

static void function_log_forget_finder(void)
{
    PyObject *path = PySys_GetObject("meta_path"); /* borrowed */
    PyObject *done = path != NULL && finder != NULL ? PyObject_CallMethod(path, "remove", "O", finder) : NULL;
    PyErr_Clear();
    Py_XDECREF(done);
    Py_CLEAR(finder);
}

/* find_spec(name, path, target=None). It finds nothing itself: it is there to notice that `logging` is imported. */
static PyObject *function_log_find_spec(PyObject *self, PyObject *arguments)
{
    (void)self;
    PyObject *name = PyTuple_Size(arguments) > 0 ? PyTuple_GetItem(arguments, 0) : NULL; /* borrowed */
    if (name != NULL && PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, "logging") == 0) {
        function_log_forget_finder();
        PyObject *spec = function_log_glue_call("spec_of_logging", NULL, NULL);
        if (spec != NULL) {
            return spec;
        }
        PyErr_Clear();
    }
    PyErr_Clear();
    return object_none();
}

static PyMethodDef find_spec_method = {"find_spec", function_log_find_spec, METH_VARARGS, NULL};

/* An object with the one method a finder needs, of the class of sys.implementation, whose objects take any
 * attribute. */
static bool function_log_install_finder(void)
{
    PyObject *path = PySys_GetObject("meta_path");         /* borrowed */
    PyObject *example = PySys_GetObject("implementation"); /* borrowed */
    PyObject *method = PyCFunction_New(&find_spec_method, NULL);
    PyObject *made =
        method != NULL && example != NULL ? PyObject_CallFunctionObjArgs((PyObject *)Py_TYPE(example), NULL) : NULL;
    bool installed = made != NULL && PyObject_SetAttrString(made, "find_spec", method) == 0 && path != NULL &&
                     PyList_Check(path) && PyList_Insert(path, 0, made) == 0;
    Py_XDECREF(method);
    if (!installed) {
        Py_XDECREF(made);
        return false;
    }
    finder = made;
    return true;
}

static bool function_log_is_imported(void) { return PyDict_GetItemString(PyImport_GetModuleDict(), "logging") != NULL; }

void function_log_install(enum log_level level, enum log_format format, uint32_t worker, PyObject *(*context)(void))
{
    own_worker = worker;
    find_context = context;
    wanted_level = level;
    wanted_format = format;
    if (function_log_is_imported()) { /* by something that ran before us, such as sitecustomize */
        PyObject *done = function_log_glue_call("configure", NULL, NULL);
        Py_XDECREF(done);
    } else {
        (void)function_log_install_finder();
    }
    PyErr_Clear();
}

void function_log_be_worker(uint32_t worker)
{
    PyObject *number = PyLong_FromLong((long)worker);
    own_worker = worker;
    if (names != NULL && number != NULL) {
        (void)PyDict_SetItemString(names, "WORKER", number);
    }
    PyErr_Clear();
    Py_XDECREF(number);
}

void function_log_raised(enum log_level level, const char *line, const struct raised *raised)
{
    if (raised->type == NULL || raised->value == NULL || !function_log_is_imported()) {
        return;
    }
    PyObject *traceback = raised->traceback != NULL ? raised->traceback : Py_None;
    PyObject *info = Py_BuildValue("(OOO)", raised->type, raised->value, traceback);
    PyObject *text = PyUnicode_DecodeUTF8(line, (Py_ssize_t)strlen(line), "replace");
    PyObject *done =
        info != NULL && text != NULL
            ? function_log_glue_call(level == LOG_LEVEL_ERROR ? "report_error" : "report_warning", text, info)
            : NULL;
    PyErr_Clear();
    Py_XDECREF(done);
    Py_XDECREF(text);
    Py_XDECREF(info);
}

void function_log_set_level(enum log_level level)
{
    PyObject *before = PyUnicode_FromString(level_names[wanted_level]);
    PyObject *name = PyUnicode_FromString(level_names[level]);
    wanted_level = level;
    PyObject *done =
        names != NULL && before != NULL && name != NULL ? function_log_glue_call("set_level", before, name) : NULL;
    PyErr_Clear();
    Py_XDECREF(done);
    Py_XDECREF(name);
    Py_XDECREF(before);
}
