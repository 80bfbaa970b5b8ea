/* decode, in an embedded interpreter: texts flush against a page that faults, whole and cut off at every byte, and
 * allocations that fail one after the other, the interpreter's and our own. */
#include "failing_memory.h"
#include "guard.h"

#include "codec/decode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const texts[] = {
    "null",
    " true ",
    "[false,0,-1,1.5,-2.5e-3,12345678901234567890,123456789012345678901234567890,0.1234567890123456789012345678901]",
    "{\"a\":{\"b\":[{},[],[[]]],\"a key of more than sixty-four bytes, which the cache of keys does not keep, "
    "ever\":1}}",
    "\"plain text that is longer than a block of sixteen bytes, and even longer than four of them, 0123456789\"",
    "[\"gr\xC3\xBC\xC3\x9F\x65 aus dem Norden, lang "
    "genug\",\"\xE4\xB8\x96\xE7\x95\x8C\xE4\xB8\x96\xE7\x95\x8C\",\"\xF0\x9F\x98\x80\"]",
    "{\"\xD0\xBA\xD0\xBB\xD1\x8E\xD1\x87\":\"\\u0000\\n\\ud83d\\ude00\\ud800\",\"\\u0061\":\"\\\"\",\"twice\":1,"
    "\"twice\":2}",
    "[ 1 ,\r\n\t\t\t\t2 ,                                    3 ]  \n",
};

/* Decodes a copy that ends at a page that faults. */
static PyObject *decode_guarded(const char *text, size_t size, struct error *err)
{
    struct guard guard = guard_copy(text, size);
    PyObject *object = decode(guard.data, size, err);
    guard_free(&guard);
    assert_null(PyErr_Occurred());
    return object;
}

static void texts_are_read_to_their_last_byte_and_no_further(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct error err = {.category = ERR_NONE};
        PyObject *object = decode_guarded(texts[i], strlen(texts[i]), &err);
        if (object == NULL) {
            fail_msg("%s: %s", texts[i], err.text);
        }
        assert_int_equal(err.category, ERR_NONE); /* written on failure only */
        Py_DECREF(object);
    }
}

static void texts_cut_off_at_any_byte_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t complete = strlen(texts[i]);
        while (complete > 0 && strchr(" \n", texts[i][complete - 1]) != NULL) {
            complete--; /* without the white space behind it, a text is still whole */
        }
        for (size_t size = 0; size < complete; size++) {
            struct error err = {.category = ERR_NONE};
            assert_null(decode_guarded(texts[i], size, &err));
            if (err.category != ERR_JSON && err.category != ERR_EMPTY && err.category != ERR_ENCODING) {
                fail_msg("%.*s: %s", (int)size, texts[i], error_code(err.category));
            }
            assert_true(err.offset <= size);
        }
    }
}

static void the_error_may_be_of_no_interest(void **state)
{
    (void)state;
    assert_null(decode((const unsigned char *)"[", 1, NULL));
    assert_null(decode((const unsigned char *)"", 0, NULL));
}

/* The result when the allocation number `count` fails, compared with `expected`; false if there is none. */
static bool decode_with(const char *text, size_t size, long count, PyObject *expected)
{
    struct error err = {.category = ERR_NONE};
    failing_memory_after(count);
    PyObject *object = decode((const unsigned char *)text, size, &err);
    failing_memory_after(0);
    assert_null(PyErr_Occurred());
    if (object == NULL) {
        assert_int_equal(err.category, ERR_MEMORY);
        return false;
    }
    assert_int_equal(PyObject_RichCompareBool(object, expected, Py_EQ), 1);
    Py_DECREF(object);
    return true;
}

static void check_failing_allocations(const char *text, size_t size, long limit)
{
    struct error err;
    PyObject *expected = decode((const unsigned char *)text, size, &err);
    assert_non_null(expected);
    long count = 1;
    while (!decode_with(text, size, count, expected)) {
        count++;
        assert_true(count < limit);
    }
    Py_DECREF(expected);
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        check_failing_allocations(texts[i], strlen(texts[i]), 1000);
    }
    static char many[40001]; /* "[1,1,...]": the stack of values grows, too, and the collector is switched */
    for (size_t i = 0; i < sizeof many; i++) {
        many[i] = i % 2 ? '1' : ',';
    }
    many[0] = '[';
    many[sizeof many - 1] = ']';
    check_failing_allocations(many, sizeof many, 1000);
}

static int start(void **state)
{
    (void)state;
    Py_InitializeEx(0);
    failing_memory_start();
    return decode_init() ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_read_to_their_last_byte_and_no_further),
        cmocka_unit_test(texts_cut_off_at_any_byte_are_refused),
        cmocka_unit_test(the_error_may_be_of_no_interest),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
