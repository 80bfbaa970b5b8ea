#include "codec/types.h"

#include <stdint.h>

struct entry {
    PyTypeObject *type; /* owned, so its address belongs to nobody else; NULL: free */
    enum type_kind kind;
    PyObject *about; /* owned */
};

static struct entry entries[TYPES_KEPT];

static struct entry *types_place_of(PyTypeObject *type)
{
    uint64_t hash = (uint64_t)(uintptr_t)type * UINT64_C(0x9E3779B97F4A7C15);
    return &entries[hash >> 58];
}

_Static_assert(TYPES_KEPT == 1 << (64 - 58), "the hash covers the table");

/* A look-up failed for want of memory, so what was decided may be wrong. */
static bool starved;

static void types_look_up_failed(void)
{
    starved = starved || PyErr_ExceptionMatches(PyExc_MemoryError);
    PyErr_Clear();
}

/* `module`.`name` if that module is loaded and has it, else NULL. New reference; no exception is left. */
static PyObject *types_loaded(const char *module_name, const char *name)
{
    PyObject *module = PyMapping_GetItemString(PyImport_GetModuleDict(), module_name);
    PyObject *found = module != NULL ? PyObject_GetAttrString(module, name) : NULL;
    if (found == NULL) {
        types_look_up_failed();
    }
    Py_XDECREF(module);
    return found;
}

/* The attribute of the class itself, not of what it is an instance of, or NULL. New reference. */
static PyObject *types_class_attribute(PyTypeObject *type, const char *name)
{
    PyObject *found = PyObject_GetAttrString((PyObject *)type, name);
    if (found == NULL) {
        types_look_up_failed();
    }
    return found;
}

static bool types_class_has(PyTypeObject *type, const char *name)
{
    PyObject *found = types_class_attribute(type, name);
    Py_XDECREF(found);
    return found != NULL;
}

/* A class by what its instances inherit, without asking __instancecheck__. */
static bool types_is_subclass(PyTypeObject *type, const char *module, const char *name)
{
    PyObject *class = types_loaded(module, name);
    bool is = class != NULL && PyType_Check(class) && PyType_IsSubtype(type, (PyTypeObject *)class) != 0;
    Py_XDECREF(class);
    return is;
}

/* json asks a list or tuple that has an __iter__ of its own: it may be a proxy, with nothing in its storage. */
static bool types_iterates(PyTypeObject *type, PyTypeObject *base)
{
    PyObject *own = types_class_attribute(type, "__iter__");
    PyObject *known = types_class_attribute(base, "__iter__");
    bool differs = own != known;
    Py_XDECREF(known);
    Py_XDECREF(own);
    return differs;
}

/* json's own types and their subclasses: told by flags that every type carries. */
static enum type_kind types_kind_by_flags(PyTypeObject *type)
{
    static const struct {
        unsigned long flag;
        enum type_kind kind;
    } flags[] = {
        {Py_TPFLAGS_UNICODE_SUBCLASS, TYPE_STR}, {Py_TPFLAGS_LONG_SUBCLASS, TYPE_INT},
        {Py_TPFLAGS_DICT_SUBCLASS, TYPE_DICT},   {Py_TPFLAGS_LIST_SUBCLASS, TYPE_LIST},
        {Py_TPFLAGS_TUPLE_SUBCLASS, TYPE_TUPLE}, {Py_TPFLAGS_BYTES_SUBCLASS, TYPE_BYTES},
    };
    unsigned long has = PyType_GetFlags(type);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if ((has & flags[i].flag) != 0) {
            enum type_kind kind = flags[i].kind;
            bool own = (kind == TYPE_LIST && types_iterates(type, &PyList_Type)) ||
                       (kind == TYPE_TUPLE && types_iterates(type, &PyTuple_Type));
            return own ? TYPE_SET : kind;
        }
    }
    return TYPE_UNKNOWN;
}

static enum type_kind types_kind_by_base(PyTypeObject *type)
{
    if (PyType_IsSubtype(type, &PyFloat_Type)) {
        return TYPE_FLOAT;
    }
    if (PyType_IsSubtype(type, &PySet_Type) || PyType_IsSubtype(type, &PyFrozenSet_Type)) {
        return TYPE_SET;
    }
    return PyType_IsSubtype(type, &PyByteArray_Type) || type == &PyMemoryView_Type ? TYPE_BYTES : TYPE_UNKNOWN;
}

/* What libraries write by their own rules, from JSON's keys to what they leave out. */
static bool types_writes_itself(PyTypeObject *type)
{
    return types_class_has(type, "__pydantic_serializer__") || types_class_has(type, "__struct_fields__") ||
           (types_class_has(type, "__fields_set__") && types_class_has(type, "__config__"));
}

static bool types_has_fields(PyTypeObject *type)
{
    return types_class_has(type, "__dataclass_fields__") || types_class_has(type, "__attrs_attrs__");
}

static types_answer *answerer;

void types_ask(types_answer *answer) { answerer = answer; }

PyObject *types_answer_to(const char *question, PyObject *about)
{
    if (answerer != NULL) {
        return answerer(question, about);
    }
    PyErr_SetString(PyExc_TypeError, "not a part of this build");
    return NULL;
}

/* Whether there is a function that gives what stands for objects of the class. -1 with an exception. */
static int types_find_writer(PyTypeObject *type, PyObject **ret_writer)
{
    PyObject *writer = answerer != NULL ? answerer("writer_of", (PyObject *)type) : NULL;
    if (writer == NULL || writer == Py_None) {
        bool failed = answerer != NULL && writer == NULL;
        Py_XDECREF(writer);
        return failed ? -1 : 0;
    }
    *ret_writer = writer;
    return 1;
}

static enum type_kind types_kind_by_class(PyTypeObject *type)
{
    static const struct {
        const char *module, *name;
        enum type_kind kind;
    } classes[] = {
        {"enum", "Enum", TYPE_ENUM},          {"datetime", "date", TYPE_ISOFORMAT}, /* the base of datetime */
        {"datetime", "time", TYPE_ISOFORMAT}, {"uuid", "UUID", TYPE_TEXT},
        {"decimal", "Decimal", TYPE_TEXT},    {"pathlib", "PurePath", TYPE_TEXT},
    };
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (types_is_subclass(type, classes[i].module, classes[i].name)) {
            return classes[i].kind;
        }
    }
    return TYPE_UNKNOWN;
}

/* Whether `tolist` is one that says no more and no less than the buffer: a masked array's, for one, does not. */
static bool types_is_plain_tolist(PyObject *tolist)
{
    static const char *const owners[][2] = {{"numpy", "ndarray"}, {"numpy", "generic"}, {"array", "array"}};
    bool plain = false;
    for (size_t i = 0; !plain && i < sizeof owners / sizeof *owners; i++) {
        PyObject *owner = types_loaded(owners[i][0], owners[i][1]);
        if (owner != NULL && PyType_Check(owner)) {
            PyObject *known = types_class_attribute((PyTypeObject *)owner, "tolist");
            plain = known == tolist;
            Py_XDECREF(known);
        }
        Py_XDECREF(owner);
    }
    return plain;
}

static enum type_kind types_kind_of_array(PyTypeObject *type)
{
    PyObject *tolist = types_class_attribute(type, "tolist");
    enum type_kind kind = TYPE_UNKNOWN;
    if (tolist != NULL) {
        kind = types_is_plain_tolist(tolist) ? TYPE_ARRAY : TYPE_TOLIST;
        Py_DECREF(tolist);
    }
    return kind;
}

/* Date's and time's own classes; what is made of them may be no time at all, like pandas' NaT. */
static bool types_is_derived_time(PyTypeObject *type, enum type_kind kind)
{
    PyObject *module = kind == TYPE_ISOFORMAT ? types_class_attribute(type, "__module__") : NULL;
    bool own = module != NULL && PyUnicode_Check(module) && PyUnicode_CompareWithASCIIString(module, "datetime") == 0;
    Py_XDECREF(module);
    return kind == TYPE_ISOFORMAT && !own;
}

/* False with an exception. `*ret_about` is a new reference. */
static bool types_decide(PyTypeObject *type, enum type_kind *ret_kind, PyObject **ret_about)
{
    enum type_kind kind = types_kind_by_flags(type);
    kind = kind != TYPE_UNKNOWN ? kind : types_kind_by_base(type);
    bool itself = kind == TYPE_UNKNOWN && types_writes_itself(type);
    if (kind == TYPE_UNKNOWN && !itself) {
        kind = types_has_fields(type) ? TYPE_FIELDS : types_kind_by_class(type);
    }
    if (itself || types_is_derived_time(type, kind)) {
        int found = types_find_writer(type, ret_about);
        *ret_kind = found > 0 ? TYPE_STAND_IN : kind;
        if (found != 0) {
            return found > 0;
        }
        kind = kind == TYPE_UNKNOWN && types_has_fields(type) ? TYPE_FIELDS : kind;
    }
    kind = kind != TYPE_UNKNOWN ? kind : types_kind_of_array(type);
    int found = kind == TYPE_UNKNOWN ? types_find_writer(type, ret_about) : 0;
    *ret_kind = found > 0 ? TYPE_STAND_IN : kind;
    return found >= 0;
}

/* Descriptions of the fields: dataclasses.fields() leaves out ClassVar and InitVar. New reference. */
static PyObject *types_fields_of(PyTypeObject *type)
{
    if (!types_class_has(type, "__dataclass_fields__")) {
        return PyObject_GetAttrString((PyObject *)type, "__attrs_attrs__");
    }
    PyObject *module = PyImport_ImportModule("dataclasses"); /* loaded already: the class was made with it */
    PyObject *fields = module != NULL ? PyObject_CallMethod(module, "fields", "O", type) : NULL;
    Py_XDECREF(module);
    return fields;
}

static PyObject *types_names_of(PyTypeObject *type)
{
    PyObject *fields = types_fields_of(type);
    PyObject *list = fields != NULL ? PySequence_List(fields) : NULL;
    Py_XDECREF(fields);
    for (Py_ssize_t i = 0; list != NULL && i < PyList_Size(list); i++) {
        PyObject *name = PyObject_GetAttrString(PyList_GetItem(list, i), "name");
        if (name == NULL || PyList_SetItem(list, i, name) < 0) {
            Py_CLEAR(list);
        }
    }
    PyObject *names = list != NULL ? PyList_AsTuple(list) : NULL;
    Py_XDECREF(list);
    return names;
}

/* Keeps the decision, and gives up the one it displaces. Takes no references. */
static void types_keep(struct entry *place, PyTypeObject *type, enum type_kind kind, PyObject *about)
{
    struct entry displaced = *place;
    Py_INCREF((PyObject *)type);
    Py_XINCREF(about);
    *place = (struct entry){.type = type, .kind = kind, .about = about};
    Py_XDECREF((PyObject *)displaced.type);
    Py_XDECREF(displaced.about);
}

bool types_find(PyObject *object, struct type *ret_type)
{
    PyTypeObject *type = Py_TYPE(object);
    struct entry *place = types_place_of(type);
    if (place->type == type) {
        Py_XINCREF(place->about);
        *ret_type = (struct type){.kind = place->kind, .about = place->about};
        return true;
    }
    starved = false;
    enum type_kind kind = TYPE_UNKNOWN;
    PyObject *about = NULL;
    if (!types_decide(type, &kind, &about)) {
        return false;
    }
    if (kind == TYPE_FIELDS && !starved) {
        about = types_names_of(type);
    }
    if (starved) {
        Py_XDECREF(about);
        (void)PyErr_NoMemory();
        return false;
    }
    if (kind == TYPE_FIELDS && about == NULL) {
        return false;
    }
    if (kind != TYPE_UNKNOWN) { /* what is unknown may come to be known: dataclass() can be called late */
        types_keep(place, type, kind, about);
    }
    *ret_type = (struct type){.kind = kind, .about = about};
    return true;
}
