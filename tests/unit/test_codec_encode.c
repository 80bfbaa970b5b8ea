/* encode, in an embedded interpreter: into buffers that are full, at every limit, and with allocations that fail one
 * after the other, the interpreter's and our own. */
#include "failing_memory.h"

#include "codec/encode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Python expressions, and the JSON they are. */
static const struct {
    const char *name, *source, *json;
} rows[] = {
    {"a constant", "None", "null"},
    {"numbers", "[0, -1, 2**63, 10**30, 0.1, -2.5e-300]",
     "[0,-1,9223372036854775808,1000000000000000000000000000000,0.1,-2.5e-300]"},
    {"nested containers", "{'a': {'b': [{}, (), [[]]]}, 1: True, None: 2.0}",
     "{\"a\":{\"b\":[{},[],[[]]]},\"1\":true,\"null\":2.0}"},
    {"texts of every width", "['abc', 'gr\\xfcn', '\\u4e16', '\\U0001f600\\n', '\\ud800', 'x' * 40]",
     "[\"abc\",\"gr\xC3\xBCn\",\"\xE4\xB8\x96\",\"\xF0\x9F\x98\x80\\n\",\"\\ud800\","
     "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"]"},
    {"subclasses", "[Str('s'), Int(5), Dict(k=1), List([1])]", "[\"s\",5,{\"k\":1},[1]]"},
    {"a dataclass", "[Point(1, Point(2, None))]", "[{\"x\":1,\"y\":{\"x\":2,\"y\":null}}]"},
    {"objects that others stand for", "[Colour.RED, datetime.date(2024, 1, 2), uuid.UUID(int=1), b'abc', {1}]",
     "[\"red\",\"2024-01-02\",\"00000000-0000-0000-0000-000000000001\",\"YWJj\",[1]]"},
    {"an array", "array.array('d', [1.5, -2])", "[1.5,-2.0]"},
    {"a memoryview in pieces", "memoryview(b'abcdef')[::2]", "\"YWNl\""},
};

enum { ROWS = sizeof rows / sizeof *rows };

static PyObject *objects[ROWS], *large, *bad;

static const char setup[] = "import array, collections, dataclasses, datetime, enum, uuid\n"
                            "class Str(str): pass\n"
                            "class Int(int): pass\n"
                            "class Dict(dict): pass\n"
                            "class List(list): pass\n"
                            "Point = dataclasses.make_dataclass('Point', ['x', 'y'])\n"
                            "Colour = enum.Enum('Colour', {'RED': 'red'})\n";

static void results_are_appended(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        struct buffer out = buffer_make(1 << 20);
        struct error err = {.category = ERR_NONE};
        assert_int_equal(buffer_append(&out, "head", 4), BUFFER_OK);
        if (!encode(objects[i], "result", &out, &err)) {
            fail_msg("%s: %s", rows[i].name, err.text);
        }
        assert_int_equal(err.category, ERR_NONE); /* written on failure only */
        if (out.size != 4 + strlen(rows[i].json) || memcmp(out.data + 4, rows[i].json, out.size - 4) != 0) {
            fail_msg("%s: %.*s", rows[i].name, (int)out.size, out.data);
        }
        assert_memory_equal(out.data, "head", 4);
        buffer_done(&out);
    }
}

/* At any limit: the whole text if it fits, else nothing but what was there. */
static void a_limit_is_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        size_t size = strlen(rows[i].json);
        for (size_t limit = 4; limit <= size + 6; limit++) {
            struct buffer out = buffer_make(limit);
            struct error err = {.category = ERR_NONE};
            assert_int_equal(buffer_append(&out, "head", 4), BUFFER_OK);
            assert_int_equal(encode(objects[i], "result", &out, &err), limit >= 4 + size);
            assert_int_equal(out.size, limit >= 4 + size ? 4 + size : 4);
            assert_true(out.capacity <= limit && out.limit == limit);
            assert_memory_equal(out.data, "head", 4);
            if (limit < 4 + size) {
                assert_int_equal(err.category, ERR_PROCESSING);
                assert_string_equal(err.type, "ValueError");
                assert_non_null(strstr(err.text, "result: the JSON text is larger than"));
            }
            buffer_done(&out);
        }
    }
}

static void a_failure_leaves_what_was_there(void **state)
{
    (void)state;
    struct buffer out = buffer_make(1 << 20);
    struct error err = {.category = ERR_NONE};
    assert_int_equal(buffer_append(&out, "head", 4), BUFFER_OK);
    assert_false(encode(bad, "result", &out, &err));
    assert_int_equal(out.size, 4);
    assert_int_equal(err.category, ERR_PROCESSING);
    assert_string_equal(err.type, "ValueError");
    assert_string_equal(err.text, "result.items[3].score: NaN is not a JSON number");
    assert_null(PyErr_Occurred());
    assert_false(encode(bad, "result", &out, NULL)); /* the error may be of no interest */
    buffer_done(&out);
}

/* Whether `object` is written when the allocation number `count` fails. */
static bool encode_with(PyObject *object, long count, const char *expected, size_t size)
{
    struct buffer out = buffer_make((size_t)1 << 30);
    struct error err = {.category = ERR_NONE};
    failing_memory_after(count);
    bool written = encode(object, "result", &out, &err);
    failing_memory_after(0);
    assert_null(PyErr_Occurred());
    if (written) {
        assert_true(out.size == size && memcmp(out.data, expected, size) == 0);
    } else {
        assert_int_equal(err.category, ERR_MEMORY);
        assert_int_equal(out.size, 0);
    }
    buffer_done(&out);
    return written;
}

static void check_failing_allocations(PyObject *object, const char *expected, size_t size)
{
    long count = 1;
    while (!encode_with(object, count, expected, size)) {
        count++;
        assert_true(count < 2000);
    }
    assert_true(count > 1); /* the buffer at least */
    assert_true(encode_with(object, 0, expected, size));
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        /* From 3.12 on CPython frees a generator twice if there is no memory to begin it, and dataclasses.fields(),
         * which is asked once for each class, begins one. */
        if (PY_VERSION_HEX >= 0x030C0000 && strcmp(rows[i].name, "a dataclass") == 0) {
            assert_true(encode_with(objects[i], 0, rows[i].json, strlen(rows[i].json)));
        }
        check_failing_allocations(objects[i], rows[i].json, strlen(rows[i].json));
    }
    struct buffer out = buffer_make((size_t)1 << 30);
    assert_true(encode(large, "result", &out, NULL));
    check_failing_allocations(large, (const char *)out.data, out.size);
    buffer_done(&out);
}

static PyObject *make(PyObject *names, const char *source)
{
    PyObject *object = PyRun_String(source, Py_eval_input, names, names);
    if (object == NULL) {
        PyErr_Print();
    }
    return object;
}

static int start(void **state)
{
    (void)state;
    Py_InitializeEx(0);
    PyObject *names = PyModule_GetDict(PyImport_AddModule("__main__"));
    PyObject *done = PyRun_String(setup, Py_file_input, names, names);
    if (done == NULL) {
        PyErr_Print();
        return -1;
    }
    Py_DECREF(done);
    for (size_t i = 0; i < ROWS; i++) {
        objects[i] = make(names, rows[i].source);
        if (objects[i] == NULL) {
            return -1;
        }
    }
    large = make(names, "[{'key %d' % i: ['\\xe9' * 300, i / 7, {'x': '\\x01' * 700}]} for i in range(300)]");
    bad = make(names, "{'items': ['x' * 5000, 1, 2, {'score': float('nan')}]}");
    failing_memory_start();
    return large != NULL && bad != NULL && encode_init() ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_allocation_may_fail), /* first, while nothing of a class is known yet */
        cmocka_unit_test(results_are_appended),
        cmocka_unit_test(a_limit_is_exact),
        cmocka_unit_test(a_failure_leaves_what_was_there),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
