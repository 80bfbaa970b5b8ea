#include "codec/convert.h"

#include <stdbool.h>

/* Whether `object` is an instance of `module`.`class`, if that module is loaded. -1 with an exception. */
static int is_instance(PyObject *object, const char *module_name, const char *class_name)
{
    PyObject *modules = PyImport_GetModuleDict();                  /* borrowed */
    PyObject *module = PyDict_GetItemString(modules, module_name); /* borrowed */
    PyObject *class = module != NULL ? PyObject_GetAttrString(module, class_name) : NULL;
    if (class == NULL) {
        PyErr_Clear();
        return 0;
    }
    int found = PyObject_IsInstance(object, class);
    Py_DECREF(class);
    return found;
}

/* Whether the object's class, not the object alone, has the attribute: modules and mocks answer to anything. */
static bool class_has(PyObject *object, const char *name)
{
    return PyObject_HasAttrString((PyObject *)Py_TYPE(object), name) != 0;
}

static PyObject *call_method(PyObject *object, const char *name) { return PyObject_CallMethod(object, name, NULL); }

/* base64 text, RFC 4648 section 4. */
static PyObject *convert_bytes(PyObject *object)
{
    PyObject *module = PyImport_ImportModule("binascii");
    PyObject *base64 = module != NULL ? PyObject_CallMethod(module, "b2a_base64", "O", object) : NULL;
    Py_XDECREF(module);
    if (base64 == NULL) {
        return NULL;
    }
    char *data;
    Py_ssize_t size;
    PyObject *text = NULL;
    if (PyBytes_AsStringAndSize(base64, &data, &size) == 0) {
        text = PyUnicode_DecodeUTF8(data, size > 0 ? size - 1 : 0, "strict"); /* without its newline */
    }
    Py_DECREF(base64);
    return text;
}

/* A dict of the attributes that `names`, an iterable of str or of objects with a `name`, lists. */
static PyObject *convert_attributes(PyObject *object, PyObject *names, bool named)
{
    PyObject *dict = PyDict_New();
    PyObject *list = names != NULL ? PySequence_List(names) : NULL;
    Py_ssize_t count = list != NULL ? PyList_Size(list) : 0;
    bool good = dict != NULL && list != NULL;
    for (Py_ssize_t i = 0; good && i < count; i++) {
        PyObject *item = PyList_GetItem(list, i); /* borrowed */
        PyObject *name = named ? PyObject_GetAttrString(item, "name") : item;
        PyObject *value = name != NULL ? PyObject_GetAttr(object, name) : NULL;
        good = value != NULL && PyDict_SetItem(dict, name, value) == 0;
        Py_XDECREF(value);
        if (named) {
            Py_XDECREF(name);
        }
    }
    Py_XDECREF(list);
    if (!good) {
        Py_CLEAR(dict);
    }
    return dict;
}

static PyObject *convert_dataclass(PyObject *object)
{
    PyObject *module = PyImport_ImportModule("dataclasses"); /* loaded already: the class was made with it */
    PyObject *fields = module != NULL ? PyObject_CallMethod(module, "fields", "O", object) : NULL;
    PyObject *dict = fields != NULL ? convert_attributes(object, fields, true) : NULL;
    Py_XDECREF(fields);
    Py_XDECREF(module);
    return dict;
}

static PyObject *convert_struct(PyObject *object)
{
    PyObject *fields = PyObject_GetAttrString(object, "__struct_fields__");
    PyObject *dict = fields != NULL ? convert_attributes(object, fields, false) : NULL;
    Py_XDECREF(fields);
    return dict;
}

/* pydantic 2; mode="json" lets the model's own serialisers decide. */
static PyObject *convert_model(PyObject *object)
{
    PyObject *method = PyObject_GetAttrString(object, "model_dump");
    PyObject *none = method != NULL ? PyTuple_New(0) : NULL;
    PyObject *how = none != NULL ? Py_BuildValue("{s:s}", "mode", "json") : NULL;
    PyObject *dict = how != NULL ? PyObject_Call(method, none, how) : NULL;
    Py_XDECREF(how);
    Py_XDECREF(none);
    Py_XDECREF(method);
    return dict;
}

/* By what the class has. NULL without an exception: nothing fits. */
static PyObject *convert_by_attribute(PyObject *object)
{
    if (PyType_Check(object)) {
        return NULL; /* a class has what its instances have */
    }
    if (class_has(object, "__pydantic_validator__")) {
        return class_has(object, "model_dump") ? convert_model(object) : convert_dataclass(object);
    }
    if (class_has(object, "__fields_set__") && class_has(object, "dict")) { /* pydantic 1 */
        return call_method(object, "dict");
    }
    if (class_has(object, "__dataclass_fields__")) {
        return convert_dataclass(object);
    }
    if (class_has(object, "__struct_fields__")) {
        return convert_struct(object);
    }
    if (class_has(object, "tolist")) { /* numpy arrays and scalars, tensors, array.array */
        return call_method(object, "tolist");
    }
    return NULL;
}

struct known_class {
    const char *module;
    const char *name;
    const char *method; /* called without arguments; NULL: str() */
};

static const struct known_class known_classes[] = {
    {"datetime", "datetime", "isoformat"}, {"datetime", "date", "isoformat"},
    {"datetime", "time", "isoformat"},     {"uuid", "UUID", NULL},
    {"decimal", "Decimal", NULL},          {"pathlib", "PurePath", NULL},
};

/* By its class in a loaded module. NULL without an exception: nothing fits. */
static PyObject *convert_by_class(PyObject *object)
{
    int found = is_instance(object, "enum", "Enum");
    if (found != 0) {
        return found > 0 ? PyObject_GetAttrString(object, "value") : NULL;
    }
    for (size_t i = 0; i < sizeof known_classes / sizeof known_classes[0]; i++) {
        found = is_instance(object, known_classes[i].module, known_classes[i].name);
        if (found != 0) {
            const char *method = known_classes[i].method;
            return found < 0 ? NULL : method != NULL ? call_method(object, method) : PyObject_Str(object);
        }
    }
    return NULL;
}

static PyObject *refuse(PyObject *object)
{
    PyObject *name = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "__name__");
    if (name != NULL) {
        PyErr_Format(PyExc_TypeError, "an object of type %U cannot be written as JSON", name);
        Py_DECREF(name);
    }
    return NULL;
}

PyObject *convert(PyObject *object)
{
    int set = is_instance(object, "builtins", "set");
    set = set == 0 ? is_instance(object, "builtins", "frozenset") : set;
    if (set != 0) {
        return set > 0 ? PySequence_List(object) : NULL;
    }
    if (PyBytes_Check(object) || Py_TYPE(object) == &PyByteArray_Type || Py_TYPE(object) == &PyMemoryView_Type) {
        return convert_bytes(object);
    }
    PyObject *found = convert_by_attribute(object);
    if (found == NULL && !PyErr_Occurred()) {
        found = convert_by_class(object);
    }
    return found != NULL || PyErr_Occurred() ? found : refuse(object);
}
