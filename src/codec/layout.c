#include "codec/layout.h"

struct layout layout;

/* Whether every bit above the head of the object is what reading it that way gives. The readers are only let loose on
 * objects of known size, so a wrong guess reads nothing but the object itself. */

static size_t layout_size_of(PyObject *object)
{
    PyObject *result = object != NULL ? PyObject_CallMethod(object, "__sizeof__", NULL) : NULL;
    size_t size = result != NULL ? PyLong_AsSize_t(result) : 0;
    Py_XDECREF(result);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    return size;
}

static bool layout_probe_floats(void)
{
    static const double probes[] = {1.5, -0.75, 3.141592653589793e300};
    bool good = true;
    layout.floats = true;
    for (size_t i = 0; good && i < sizeof probes / sizeof *probes; i++) {
        PyObject *number = PyFloat_FromDouble(probes[i]);
        double value;
        good = layout_size_of(number) >= LAYOUT_HEAD + sizeof value;
        if (good) {
            value = layout_float(number);
            good = value == probes[i];
        }
        Py_XDECREF(number);
    }
    return good;
}

/* Whether all ints from -2^30 to 2^30 that are probed read as they should; one of more digits must not be read. */
static bool layout_probe_ints(void)
{
    static const struct {
        long value;
        bool small;
    } probes[] = {{0, true},          {1, true},           {-1, true},          {-5, true},
                  {256, true},        {257, true},         {1000003, true},     {-70000, true},
                  {1073741823, true}, {-1073741823, true}, {1073741824, false}, {-1073741824, false},
                  {1L << 45, false}};
    bool good = true;
    for (size_t i = 0; good && i < sizeof probes / sizeof *probes; i++) {
        PyObject *number = PyLong_FromLong(probes[i].value);
        int64_t value = 0;
        good = layout_size_of(number) >= LAYOUT_HEAD + sizeof value; /* zero may have no digit to be read */
        if (good) {
            bool small = layout_small_int(number, &value);
            good = small == probes[i].small && (!small || value == probes[i].value);
        }
        Py_XDECREF(number);
    }
    return good;
}

/* A list and a tuple of three different objects. */
static void layout_probe_sequences(void)
{
    PyObject *list = Py_BuildValue("[OOO]", Py_None, Py_True, Py_False);
    PyObject *tuple = Py_BuildValue("(OOO)", Py_None, Py_True, Py_False);
    PyObject *const expected[] = {Py_None, Py_True, Py_False};
    layout.lists =
        list != NULL && Py_SIZE(list) == 3 && layout_size_of(list) >= LAYOUT_SIZED_HEAD + sizeof(PyObject **);
    layout.tuples =
        tuple != NULL && Py_SIZE(tuple) == 3 && layout_size_of(tuple) >= LAYOUT_SIZED_HEAD + sizeof expected;
    if (layout.lists) {
        PyObject **items;
        memcpy(&items, (const char *)list + LAYOUT_SIZED_HEAD, sizeof items);
        /* a pointer is followed only if it can be one to objects */
        layout.lists = items != NULL && (uintptr_t)items % sizeof(void *) == 0 && (uintptr_t)items > 0xFFFF;
    }
    for (Py_ssize_t i = 0; i < 3; i++) {
        layout.lists = layout.lists && layout_list_values(list)[i] == expected[i];
        layout.tuples = layout.tuples && layout_tuple_values(tuple)[i] == expected[i];
    }
    Py_XDECREF(list);
    Py_XDECREF(tuple);
    PyErr_Clear();
}

/* A str of known characters: they stand at its very end with a zero behind them; its flags and length say so. */
struct probe {
    const char *utf8;
    const void *characters;
    size_t length, width;
    enum text_kind kind;
};

/* The offset of the characters, 0 if the str is not as it should be. */
static size_t layout_probe_text(const struct probe *probe)
{
    PyObject *text = PyUnicode_FromString(probe->utf8);
    size_t size = layout_size_of(text), tail = (probe->length + 1) * probe->width, offset = 0;
    if (size > tail + LAYOUT_STATE_OFFSET + sizeof(uint32_t) && layout_text_kind(text) == probe->kind &&
        layout_text_length(text) == probe->length &&
        memcmp((const char *)text + size - tail, probe->characters, probe->length * probe->width) == 0) {
        offset = size - tail;
    }
    Py_XDECREF(text);
    PyErr_Clear();
    return offset;
}

static bool layout_probe_strings(void)
{
    static const uint16_t two[] = {'p', 0x20AC, 'o', 0x0416, 'b', 'e', 0x4E2D};
    static const uint32_t four[] = {'p', 0x1F600, 'o', 0x20AC};
    static const struct probe ascii[] = {{"a", "a", 1, 1, TEXT_ASCII},
                                         {"__class__", "__class__", 9, 1, TEXT_ASCII},
                                         {"probe of 21 letters..", "probe of 21 letters..", 21, 1, TEXT_ASCII}};
    static const struct probe wide[] = {{"pr\xC3\xB6\x62\x65", "pr\xF6\x62\x65", 5, 1, TEXT_LATIN1},
                                        {"\xC3\xBF\xC2\x80", "\xFF\x80", 2, 1, TEXT_LATIN1},
                                        {"p\xE2\x82\xACo\xD0\x96\x62\x65\xE4\xB8\xAD", two, 7, 2, TEXT_UCS2},
                                        {"p\xF0\x9F\x98\x80o\xE2\x82\xAC", four, 4, 4, TEXT_UCS4}};
    bool good = true;
    layout.strings = true; /* so that the readers read */
    layout.ascii_text = layout_probe_text(&ascii[0]);
    layout.wide_text = layout_probe_text(&wide[0]);
    for (size_t i = 0; i < sizeof ascii / sizeof *ascii; i++) {
        good = good && layout.ascii_text != 0 && layout_probe_text(&ascii[i]) == layout.ascii_text;
    }
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        good = good && layout.wide_text != 0 && layout_probe_text(&wide[i]) == layout.wide_text;
    }
    return good;
}

void layout_init(void)
{
    static bool probed;
    if (probed) {
        return;
    }
    probed = true;
    layout.floats = layout_probe_floats();
    layout.strings = layout_probe_strings();
    layout.ints = INTS_BY_SIZE;
    if (!layout_probe_ints()) {
        layout.ints = INTS_BY_TAG;
        layout.ints = layout_probe_ints() ? INTS_BY_TAG : INTS_UNKNOWN;
    }
    layout_probe_sequences();
}
