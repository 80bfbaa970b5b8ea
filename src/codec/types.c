#include "codec/types.h"

#include <stdint.h>

struct entry {
    PyTypeObject *type; /* owned, so its address belongs to nobody else; NULL: free */
    enum type_kind kind;
    PyObject *names; /* owned */
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
            return flags[i].kind;
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

/* Classes without a base that tells, by the attributes their makers give them. */
static enum type_kind types_kind_by_attributes(PyTypeObject *type)
{
    if (types_class_has(type, "__pydantic_serializer__") && types_class_has(type, "model_dump")) {
        return TYPE_MODEL;
    }
    if (types_class_has(type, "__fields_set__") && types_class_has(type, "__config__") &&
        types_class_has(type, "dict")) {
        return TYPE_MODEL_1;
    }
    return types_class_has(type, "__dataclass_fields__") || types_class_has(type, "__struct_fields__") ? TYPE_FIELDS
                                                                                                       : TYPE_UNKNOWN;
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

static enum type_kind types_kind_of(PyTypeObject *type)
{
    enum type_kind kind = types_kind_by_flags(type);
    kind = kind != TYPE_UNKNOWN ? kind : types_kind_by_base(type);
    kind = kind != TYPE_UNKNOWN ? kind : types_kind_by_attributes(type);
    kind = kind != TYPE_UNKNOWN ? kind : types_kind_by_class(type);
    return kind != TYPE_UNKNOWN ? kind : types_kind_of_array(type);
}

/* The names of a dataclass's fields: dataclasses.fields() leaves out ClassVar and InitVar. New reference. */
static PyObject *types_dataclass_names(PyTypeObject *type)
{
    PyObject *module = PyImport_ImportModule("dataclasses"); /* loaded already: the class was made with it */
    PyObject *fields = module != NULL ? PyObject_CallMethod(module, "fields", "O", type) : NULL;
    PyObject *list = fields != NULL ? PySequence_List(fields) : NULL;
    Py_XDECREF(fields);
    Py_XDECREF(module);
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

static PyObject *types_names_of(PyTypeObject *type)
{
    if (types_class_has(type, "__dataclass_fields__")) {
        return types_dataclass_names(type);
    }
    PyObject *fields = PyObject_GetAttrString((PyObject *)type, "__struct_fields__");
    PyObject *names = fields != NULL ? PySequence_Tuple(fields) : NULL;
    Py_XDECREF(fields);
    return names;
}

/* Keeps the decision, and gives up the one it displaces. Takes no references. */
static void types_keep(struct entry *place, PyTypeObject *type, enum type_kind kind, PyObject *names)
{
    struct entry displaced = *place;
    Py_INCREF(type);
    Py_XINCREF(names);
    *place = (struct entry){.type = type, .kind = kind, .names = names};
    Py_XDECREF(displaced.type);
    Py_XDECREF(displaced.names);
}

bool types_find(PyObject *object, struct type *ret_type)
{
    PyTypeObject *type = Py_TYPE(object);
    struct entry *place = types_place_of(type);
    if (place->type == type) {
        Py_XINCREF(place->names);
        *ret_type = (struct type){.kind = place->kind, .names = place->names};
        return true;
    }
    starved = false;
    enum type_kind kind = types_kind_of(type);
    PyObject *names = kind == TYPE_FIELDS && !starved ? types_names_of(type) : NULL;
    if (starved) {
        Py_XDECREF(names);
        (void)PyErr_NoMemory();
        return false;
    }
    if (kind == TYPE_FIELDS && names == NULL) {
        return false;
    }
    if (kind != TYPE_UNKNOWN) { /* what is unknown may come to be known: dataclass() can be called late */
        types_keep(place, type, kind, names);
    }
    *ret_type = (struct type){.kind = kind, .names = names};
    return true;
}
