/*
 * decode against CPython's json, in an embedded interpreter: the same texts accepted, with equal values of equal types,
 * and the right category for the others.
 */
#define PY_SSIZE_T_CLEAN
#include "codec/decode.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static PyObject *oracle; /* the function below */

static const char oracle_source[] = "import json, sys\n"
                                    "sys.setrecursionlimit(20000)\n" /* deeper than any input is long */
                                    "def refuse(name): raise ValueError(name)\n"
                                    "def same(a, b):\n" /* (equal, levels of nesting), without recursion */
                                    "    pairs, levels = [(a, b)], 0\n"
                                    "    while pairs:\n"
                                    "        inner = []\n"
                                    "        for a, b in pairs:\n"
                                    "            if type(a) is not type(b): return False, levels\n"
                                    "            if type(a) is dict:\n"
                                    "                if list(a) != list(b): return False, levels\n"
                                    "                inner.append([(a[k], b[k]) for k in a])\n"
                                    "            elif type(a) is list:\n"
                                    "                if len(a) != len(b): return False, levels\n"
                                    "                inner.append(list(zip(a, b)))\n"
                                    "            elif repr(a) != repr(b): return False, levels\n"
                                    "        levels += bool(inner)\n"
                                    "        pairs = [pair for part in inner for pair in part]\n"
                                    "    return True, levels\n"
                                    "def oracle(data, category, value):\n"
                                    "    try:\n"
                                    "        text = data.decode('utf-8')\n"
                                    "    except UnicodeDecodeError:\n"
                                    "        return category == 'invalid_encoding'\n"
                                    "    if not text.strip(' \\t\\r\\n'): return category == 'empty_message'\n"
                                    "    try:\n"
                                    "        expected = json.loads(text, parse_constant=refuse)\n"
                                    "    except ValueError:\n"
                                    "        return category == 'invalid_json'\n"
                                    "    if category == 'invalid_json': return same(expected, expected)[1] > 1000\n"
                                    "    equal, levels = same(value, expected)\n"
                                    "    return category == '' and equal and levels <= 1000\n";

static void start(void)
{
    Py_InitializeEx(0);
    PyObject *names = PyDict_New();
    PyObject *done = names != NULL ? PyRun_String(oracle_source, Py_file_input, names, names) : NULL;
    oracle = done != NULL ? PyDict_GetItemString(names, "oracle") : NULL;
    if (oracle == NULL || !decode_init()) {
        PyErr_Print();
        abort();
    }
    Py_DECREF(done);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (oracle == NULL) {
        start();
    }
    struct error err = {.category = ERR_NONE};
    PyObject *value = decode(data, size, &err);
    const char *category = value != NULL ? "" : error_code(err.category);
    if (PyErr_Occurred() || (value == NULL && (err.offset > size || err.text[0] == '\0'))) {
        abort();
    }
    PyObject *agrees = PyObject_CallFunction(oracle, "y#sO", (const char *)data, (Py_ssize_t)size, category,
                                             value != NULL ? value : Py_None);
    if (agrees == NULL || agrees != Py_True) {
        PyErr_Print();
        abort();
    }
    Py_DECREF(agrees);
    Py_XDECREF(value);
    return 0;
}
