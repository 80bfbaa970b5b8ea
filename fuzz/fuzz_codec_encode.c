/*
 * encode against CPython's json, in an embedded interpreter: the bytes are a program that makes an object, and what is
 * written is json's text, or both refuse.
 */
#define PY_SSIZE_T_CLEAN
#include "codec/encode.h"
#include "codec/types.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static PyObject *make, *oracle; /* the functions below */

static const char source[] =
    "import base64, collections, dataclasses, enum, json, struct, sys\n"
    "sys.setrecursionlimit(20000)\n"
    "class Str(str): pass\n"
    "class Int(int): pass\n"
    "class Float(float): pass\n"
    "class List(list): pass\n"
    "class Stand:\n"
    "    def __init__(self, value): self.value = value\n"
    "    def tolist(self): return self.value\n"
    "@dataclasses.dataclass\n"
    "class Pair: a: object; b: object\n"
    "class Machine:\n"
    "    def __init__(self, data): self.data, self.at, self.made, self.depth = data, 0, [], 0\n"
    "    def take(self, n):\n"
    "        part = self.data[self.at:self.at + n]\n"
    "        self.at += n\n"
    "        return part + bytes(n - len(part))\n"
    "    def text(self):\n"
    "        kind, size = self.take(2)\n"
    "        size = size * 8 if kind & 4 else size % 40\n"
    "        width = (1, 1, 2, 4)[kind & 3]\n"
    "        raw = self.take(size * width)\n"
    "        if kind & 3 == 0: return bytes(b & 127 for b in raw).decode()\n"
    "        units = struct.unpack('<%d%s' % (size, ' BHI'[width if width < 3 else 3]), raw)\n"
    "        return ''.join(chr(u if u < 0x110000 else u % 0x110000) for u in units)\n"
    "    def key(self):\n"
    "        op = self.take(1)[0] % 9\n"
    "        if op < 4: return self.text()\n"
    "        if op == 4: return struct.unpack('<q', self.take(8))[0] >> self.take(1)[0] % 64\n"
    "        if op == 5: return struct.unpack('<d', self.take(8))[0]\n"
    "        if op == 6: return (None, True, False)[self.take(1)[0] % 3]\n"
    "        if op == 7: return Str(self.text())\n"
    "        return (Int(self.take(1)[0]), 2**70, (1,), b'x')[self.take(1)[0] % 4]\n"
    "    def value(self):\n"
    "        op = self.take(1)[0] % 28 if self.at < len(self.data) and self.depth < 1100 else 0\n"
    "        if op < 3: return (None, True, False)[op]\n"
    "        if op < 6: return struct.unpack('<q', self.take(8))[0] >> self.take(1)[0] % 64\n"
    "        if op == 6: return int.from_bytes(self.take(self.take(1)[0] % 40), 'little', signed=True)\n"
    "        if op < 9: return struct.unpack('<d', self.take(8))[0]\n"
    "        if op == 9: return struct.unpack('<i', self.take(4))[0] / 1000\n"
    "        if op < 13: return self.text()\n"
    "        if op == 13: return Str(self.text())\n"
    "        if op == 14: return Int(self.take(1)[0])\n"
    "        if op == 15: return Float(self.take(1)[0] / 8)\n"
    "        if op == 16: return self.take(self.take(1)[0])\n"
    "        if op == 17: return self.made[self.take(1)[0] % len(self.made)] if self.made else 0\n"
    "        if op == 18: return object()\n"
    "        self.depth += 1\n"
    "        made = self.container(op)\n"
    "        self.depth -= 1\n"
    "        return made\n"
    "    def container(self, op):\n"
    "        if op == 19:\n"
    "            value = self.value()\n"
    "            return value if isinstance(value, Stand) else Stand(value)\n" /* its own type is refused */
    "        if op == 20: return Pair(self.value(), self.value())\n"
    "        if op == 21: return frozenset([self.take(1)[0]])\n"
    "        count = self.take(1)[0] % 20\n"
    "        if op < 24:\n"
    "            made = [] if op == 22 else List()\n"
    "            self.made.append(made)\n"
    "            made.extend(self.value() for _ in range(count))\n"
    "            return made\n"
    "        if op == 24: return tuple(self.value() for _ in range(count))\n"
    "        made = collections.OrderedDict() if op == 25 else {}\n"
    "        self.made.append(made)\n"
    "        for _ in range(count):\n"
    "            key = self.key()\n"
    "            made[key] = self.value()\n"
    "        return made\n"
    "def make(data): return Machine(data).value()\n"
    "def default(value):\n"
    "    if isinstance(value, Stand): return value.value\n"
    "    if isinstance(value, Pair): return {'a': value.a, 'b': value.b}\n"
    "    if isinstance(value, frozenset): return list(value)\n"
    "    if isinstance(value, bytes): return base64.b64encode(value).decode()\n"
    "    raise TypeError('no JSON')\n"
    "def oracle(value, text):\n"
    "    try:\n"
    "        expected = json.dumps(value, ensure_ascii=False, separators=(',', ':'), allow_nan=False, "
    "default=default)\n"
    "    except (TypeError, ValueError, RecursionError):\n"
    "        return text is None\n"
    "    expected = ''.join('\\\\u%04x' % ord(c) if '\\ud800' <= c <= '\\udfff' else c for c in expected)\n"
    "    if text is None: return deep(json.loads(expected)) > 1000\n"
    "    return text == expected.encode()\n"
    "def deep(value):\n"
    "    depth, row = 0, [value]\n"
    "    while any(isinstance(v, (list, dict)) for v in row):\n"
    "        depth += 1\n"
    "        row = [x for v in row if isinstance(v, (list, dict)) for x in (v.values() if isinstance(v, dict) else "
    "v)]\n"
    "    return depth\n";

/* As the runtime's own Python does, for what occurs here. */
static PyObject *answer(const char *question, PyObject *about)
{
    if (strcmp(question, "listed") == 0) {
        return PyObject_CallMethod(about, "tolist", NULL);
    }
    if (strcmp(question, "key_of") == 0) {
        return PyTuple_New(0);
    }
    Py_INCREF(Py_None);
    return Py_None;
}

static void stop(void)
{
    PyErr_Print();
    abort();
}

static void start(void)
{
    Py_InitializeEx(0);
    PyObject *names = PyDict_New();
    PyObject *name = PyUnicode_FromString("fuzz_codec_encode");
    PyDict_SetItemString(names, "__name__", name);
    PyDict_SetItemString(PyImport_GetModuleDict(), "fuzz_codec_encode", PyImport_AddModule("__main__"));
    PyObject *done = PyRun_String(source, Py_file_input, names, names);
    make = done != NULL ? PyDict_GetItemString(names, "make") : NULL;
    oracle = done != NULL ? PyDict_GetItemString(names, "oracle") : NULL;
    if (make == NULL || oracle == NULL || !encode_init()) {
        stop();
    }
    types_ask(answer);
    Py_DECREF(name);
    Py_DECREF(done);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (oracle == NULL) {
        start();
    }
    PyObject *value = PyObject_CallFunction(make, "y#", (const char *)data, (Py_ssize_t)size);
    if (value == NULL) { /* a key that cannot be hashed */
        PyErr_Clear();
        return -1;
    }
    struct error err = {.category = ERR_NONE};
    struct buffer out = buffer_make((size_t)1 << 30);
    bool written = encode(value, "obj", &out, &err);
    if (PyErr_Occurred() ||
        (!written && (err.category != ERR_PROCESSING || out.size != 0 || strncmp(err.text, "obj", 3) != 0))) {
        stop();
    }
    PyObject *agrees = written ? PyObject_CallFunction(oracle, "Oy#", value, out.data, (Py_ssize_t)out.size)
                               : PyObject_CallFunction(oracle, "OO", value, Py_None);
    if (agrees != Py_True) {
        (void)fprintf(stderr, "not json's text: %.*s %s\n", written ? (int)out.size : 0, (const char *)out.data,
                      err.text);
        stop();
    }
    Py_DECREF(agrees);
    Py_DECREF(value);
    buffer_done(&out);
    return 0;
}
