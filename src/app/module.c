/*
 * The extension module `_asya`: what the single file and the wheel load.
 *
 * It has loads, dumps, main, context, metrics, fly_text, fly_status and __version__. Importing it starts nothing.
 */
#include "app/cli.h"
#include "app/commands.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"
#include "codec/decode.h"
#include "codec/encode.h"
#include "codec/pyabi.h"
#include "codec/types.h"
#include "python/active.h"
#include "python/context.h"
#include "python/fly.h"
#include "python/member.h"
#include "python/metrics.h"
#include "python/mounts.h"
#include "python/results.h"

#include <Python.h>

/* Largest result of dumps(). Replies have a limit of their own. */
static const size_t dumps_limit = (size_t)1 << 40;

/* The buffer of the last dumps() is kept if it is at most this large: getting fresh memory from the kernel each time
 * costs more than writing JSON into it. */
enum { DUMPS_KEPT = 4 << 20 };

static struct buffer spare;

static PyObject *raise_error(const struct error *err)
{
    switch (err->category) {
    case ERR_MEMORY:
        return PyErr_NoMemory();
    case ERR_PROCESSING:
        if (strcmp(err->type, "TypeError") == 0) {
            PyErr_SetString(PyExc_TypeError, err->text);
            return NULL;
        }
        PyErr_SetString(PyExc_ValueError, err->text);
        return NULL;
    default:
        PyErr_Format(PyExc_ValueError, "%s: %s", error_code(err->category), err->text);
        return NULL;
    }
}

PyDoc_STRVAR(loads_doc, "loads(data: bytes) -> object\n--\n\n"
                        "Decode one JSON value from UTF-8 bytes. Raises ValueError, which names the error category.");

static PyObject *module_loads(PyObject *self, PyObject *data)
{
    (void)self;
    char *text;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(data, &text, &size) < 0) {
        return NULL;
    }
    struct error err;
    PyObject *object = decode((const unsigned char *)text, (size_t)size, &err);
    return object != NULL ? object : raise_error(&err);
}

PyDoc_STRVAR(dumps_doc,
             "dumps(obj: object) -> bytes\n--\n\n"
             "Encode an object as JSON in UTF-8. Raises TypeError or ValueError with the path to the culprit.");

static PyObject *module_dumps(PyObject *self, PyObject *object)
{
    (void)self;
    struct buffer out = spare;
    out.limit = dumps_limit;
    spare = buffer_make(0); /* in use now: code of the object may call dumps() again */
    struct error err;
    bool written = encode(object, "obj", &out, &err);
    PyErr_Clear();
    PyObject *result =
        written ? PyBytes_FromStringAndSize((const char *)out.data, (Py_ssize_t)out.size) : raise_error(&err);
    buffer_done(&spare);
    buffer_reset(&out, DUMPS_KEPT);
    spare = out;
    return result;
}

PyDoc_STRVAR(main_doc,
             "main(argv: list[str]) -> int\n--\n\n"
             "Run the command line; argv[0] is the program's name. Returns the exit code. Serving forks worker\n"
             "processes, in each of which this returns as well: pass the value to sys.exit().");

enum { ARGUMENTS_MAX = 128 };

static PyObject *module_main(PyObject *self, PyObject *argv)
{
    (void)self;
    PyObject *kept[ARGUMENTS_MAX] = {NULL};
    const char *arguments[ARGUMENTS_MAX] = {"asya_runtime.py"};
    int count = 0;
    PyObject *result = NULL;
    Py_ssize_t size = PySequence_Size(argv);
    if (size < 0) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < size && count < ARGUMENTS_MAX; i++, count++) {
        PyObject *item = PySequence_GetItem(argv, i);
        PyObject *bytes = item != NULL ? PyUnicode_AsEncodedString(item, "utf-8", "surrogateescape") : NULL;
        Py_XDECREF(item);
        kept[count] = bytes;
        char *text;
        if (bytes == NULL || PyBytes_AsStringAndSize(bytes, &text, NULL) < 0) {
            goto done;
        }
        arguments[count] = text;
    }
    result = PyLong_FromLong(cli_run(arguments[0], count > 0 ? count - 1 : 0, arguments + 1));
    log_finish();
    if (PyErr_Occurred() != NULL) { /* a command's own */
        Py_CLEAR(result);
    }
done:
    for (int i = 0; i < ARGUMENTS_MAX; i++) {
        Py_XDECREF(kept[i]);
    }
    return result;
}

static PyMethodDef methods[] = {
    {"loads", module_loads, METH_O, loads_doc},
    {"dumps", module_dumps, METH_O, dumps_doc},
    {"main", module_main, METH_O, main_doc},
    {NULL, NULL, 0, NULL},
};

/* The codec's tables and the server are one for the process, and their objects the main interpreter's. From 3.12 on
 * CPython itself refuses to load the module in interpreters with a GIL of their own. */
static bool module_is_in_subinterpreter(void)
{
    PyInterpreterState *(*get)(void) =
        PyInterpreterState_Get != NULL ? PyInterpreterState_Get : _PyInterpreterState_Get;
    return get != NULL && PyInterpreterState_GetID(get()) != 0;
}

static int module_exec(PyObject *module)
{
    if (module_is_in_subinterpreter()) {
        PyErr_SetString(PyExc_ImportError, "module _asya does not support loading in subinterpreters");
        return -1;
    }
    types_ask(results_answer);
    mounts_use(module);
    if (!decode_init() || !encode_init() || !member_make_names() || active_add_exceptions(module) != 0 ||
        context_add(module) != 0 || fly_add(module) != 0 || commands_add(module) != 0 || metrics_add(module) != 0) {
        return -1;
    }
    return PyModule_AddStringConstant(module, "__version__", ASYA_VERSION);
}

#define MODULE_NAME "_asya"
#define MODULE_DOC  "The Asya runtime in C."

#ifdef _Py_OPAQUE_PYOBJECT /* `abi3t`: without Py_mod_gil, a free-threaded build switches its GIL on */
PyABIInfo_VAR(module_abi);

static PySlot slots[] = {
    PySlot_STATIC_DATA(Py_mod_name, MODULE_NAME), PySlot_STATIC_DATA(Py_mod_doc, MODULE_DOC),
    PySlot_STATIC_DATA(Py_mod_methods, methods),  PySlot_FUNC(Py_mod_exec, module_exec),
    PySlot_DATA(Py_mod_abi, &module_abi),         PySlot_END,
};

__attribute__((visibility("default"))) PyMODEXPORT_FUNC PyModExport__asya(void);

PyMODEXPORT_FUNC PyModExport__asya(void) { return slots; }
#else
static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)module_exec},
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = MODULE_NAME, .m_doc = MODULE_DOC, .m_methods = methods, .m_slots = slots,
};

__attribute__((visibility("default"))) PyMODINIT_FUNC PyInit__asya(void);

PyMODINIT_FUNC PyInit__asya(void) { return PyModuleDef_Init(&definition); }
#endif
