#include "python/handler.h"

#include "base/exits.h"
#include "base/log.h"
#include "base/text.h"
#include "python/failure.h"

#include <string.h>

enum { TEXT_SIZE = 1024 };

static bool is_letter(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_'; }

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Skips identifiers joined by dots, at most `most` of them; NULL if there is none at `text`. */
static const char *skip_names(const char *text, int most)
{
    for (int count = 0;; count++) {
        if (!is_letter(*text) || count == most) {
            return NULL;
        }
        while (is_letter(*text) || is_digit(*text)) {
            text++;
        }
        if (*text != '.') {
            return text;
        }
        text++;
    }
}

bool handler_check_name(const char *name, struct error *err)
{
    const char *rest = skip_names(name, HANDLER_NAME_MAX);
    if (rest != NULL && *rest == ':') {
        rest = skip_names(rest + 1, 2);
    }
    if (rest != NULL && *rest == '\0' && strlen(name) <= HANDLER_NAME_MAX) {
        return true;
    }
    char shown[128];
    text_copy(shown, sizeof shown, name);
    return error_set(err, ERR_SERVER, 0,
                     "ASYA_PROCESS_MODULE is '%s'%s, should be pkg.module:name, pkg.module or pkg.module:Class.method",
                     shown, strlen(name) >= sizeof shown ? "..." : "");
}

/* Calls a method without arguments on sys.NAME, where that is possible. */
static void call_on_stream(const char *stream, const char *method)
{
    PyObject *object = PySys_GetObject(stream); /* borrowed */
    if (object != NULL && object != Py_None) {
        PyObject *result = PyObject_CallMethod(object, method, NULL);
        Py_XDECREF(result);
    }
    PyErr_Clear();
}

/* An attribute of an exception as text; "" where there is none. */
static void attribute_text(PyObject *object, const char *name, char *target, size_t size)
{
    target[0] = '\0';
    PyObject *value = PyObject_GetAttrString(object, name);
    if (value != NULL && value != Py_None) {
        (void)failure_text_of(value, target, size);
    }
    PyErr_Clear();
    Py_XDECREF(value);
}

/* An exception taken from the interpreter. All new references; any may be NULL. */
struct raised {
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
};

static struct raised raised_take(void)
{
    struct raised raised;
    PyErr_Fetch(&raised.type, &raised.value, &raised.traceback);
    PyErr_NormalizeException(&raised.type, &raised.value, &raised.traceback);
    if (raised.traceback != NULL && raised.value != NULL) {
        (void)PyException_SetTraceback(raised.value, raised.traceback);
    }
    return raised;
}

/* The traceback as Python itself would print it; not PyErr_Print, which obeys SystemExit. */
static void raised_print(const struct raised *raised)
{
    call_on_stream("stdout", "flush");
    PyErr_Display(raised->type, raised->value, raised->traceback);
    PyErr_Clear();
    call_on_stream("stderr", "flush");
}

static void raised_done(struct raised *raised)
{
    Py_XDECREF(raised->type);
    Py_XDECREF(raised->value);
    Py_XDECREF(raised->traceback);
}

static bool is(const struct raised *raised, PyObject *type)
{
    return PyErr_GivenExceptionMatches(raised->type, type) != 0;
}

/* `name` is `module` or a package it lies in. */
static bool is_module_or_parent(const char *name, const char *module)
{
    size_t size = strlen(name);
    return strncmp(name, module, size) == 0 && (module[size] == '\0' || module[size] == '.');
}

static int log_other(const struct raised *raised, const char *doing, const char *name)
{
    char type[ERROR_TYPE_SIZE];
    char text[TEXT_SIZE];
    attribute_text(raised->type, "__name__", type, sizeof type);
    (void)failure_text_of(raised->value, text, sizeof text);
    if (is(raised, PyExc_SystemExit)) {
        log_error("%s '%s' called sys.exit(%s)", doing, name, text);
    } else {
        log_error("%s '%s' raised %s: %s", doing, name, type, text);
    }
    return EXIT_IMPORT;
}

int handler_fail(const char *doing, const char *name)
{
    struct raised raised = raised_take();
    raised_print(&raised);
    int code = log_other(&raised, doing, name);
    raised_done(&raised);
    return code;
}

/* Why the import failed, in one line; the exit code that says the same. */
static int log_import_failure(const struct raised *raised, const char *module)
{
    char text[TEXT_SIZE];
    char first[TEXT_SIZE];
    char second[64];
    (void)failure_text_of(raised->value, text, sizeof text);
    if (is(raised, PyExc_SyntaxError)) {
        attribute_text(raised->value, "filename", first, sizeof first);
        attribute_text(raised->value, "lineno", second, sizeof second);
        attribute_text(raised->value, "msg", text, sizeof text);
        log_error("syntax error in %s, line %s: %s", first, second, text);
        return EXIT_SYNTAX;
    }
    if (is(raised, PyExc_ModuleNotFoundError)) {
        attribute_text(raised->value, "name", first, sizeof first);
        if (first[0] != '\0' && is_module_or_parent(first, module)) {
            log_error(
                "module '%s' of ASYA_PROCESS_MODULE was not found: put its folder on PYTHONPATH, or start in it%s",
                first, strchr(module, '.') != NULL ? " (packages need their parent folder there)" : "");
        } else {
            log_error("module '%s' imports '%s', which was not found: %s", module, first, text);
        }
        return EXIT_NO_MODULE;
    }
    return log_other(raised, "importing", module);
}

static int fail_import(const char *module)
{
    struct raised raised = raised_take();
    raised_print(&raised);
    int code = log_import_failure(&raised, module);
    raised_done(&raised);
    return code;
}

/* Names a user could have meant: what the object has that is public and callable, as "a, b, c". */
static void list_callables(PyObject *object, char *target, size_t size)
{
    target[0] = '\0';
    PyObject *names = PyObject_Dir(object);
    Py_ssize_t count = names != NULL ? PyList_Size(names) : 0;
    size_t used = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        char name[64];
        size_t length = failure_text_of(PyList_GetItem(names, i), name, sizeof name);
        if (name[0] == '_' || used + length + 3 > size) {
            continue;
        }
        PyObject *value = PyObject_GetAttrString(object, name);
        if (value != NULL && PyCallable_Check(value)) {
            memcpy(target + used, used > 0 ? ", " : "", used > 0 ? 2 : 0);
            used += used > 0 ? 2 : 0;
            memcpy(target + used, name, length + 1);
            used += length;
        }
        PyErr_Clear();
        Py_XDECREF(value);
    }
    PyErr_Clear();
    Py_XDECREF(names);
}

static int fail_attribute(PyObject *owner, const char *owner_name, const char *name)
{
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return handler_fail("looking up", name);
    }
    struct raised raised = raised_take();
    raised_print(&raised);
    raised_done(&raised);
    char names[512];
    list_callables(owner, names, sizeof names);
    log_error("'%s' has no attribute '%s'; callables there: %s", owner_name, name, names[0] != '\0' ? names : "none");
    return EXIT_NO_ATTRIBUTE;
}

/* Instantiates a class whose method is wanted. New reference in `*ret_instance`. */
static int instantiate(PyObject *class, const char *name, PyObject **ret_instance)
{
    PyObject *instance = PyObject_CallFunctionObjArgs(class, NULL);
    if (instance != NULL) {
        *ret_instance = instance;
        return EXIT_OK;
    }
    struct raised raised = raised_take();
    /* a call that does not even enter __init__ leaves no frame: its arguments did not fit */
    bool arguments = is(&raised, PyExc_TypeError) && raised.traceback == NULL;
    raised_print(&raised);
    int code = EXIT_CONSTRUCTOR;
    if (arguments) {
        char text[TEXT_SIZE];
        (void)failure_text_of(raised.value, text, sizeof text);
        log_error("class '%s' cannot be made without arguments: %s; give its parameters defaults", name, text);
    } else {
        code = log_other(&raised, "the constructor of", name);
    }
    raised_done(&raised);
    return code;
}

/* An instance whose class was given a __call__. */
static bool is_callable_instance(PyObject *object)
{
    PyObject *call = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "__call__");
    PyObject *code = call != NULL ? PyObject_GetAttrString(call, "__code__") : NULL;
    PyErr_Clear();
    Py_XDECREF(code);
    Py_XDECREF(call);
    return code != NULL;
}

/* Follows "name" or "Class.method" from the module. New references in `*ret_function` and `*ret_owner` (may be NULL).
 */
static int resolve(PyObject *module, const char *module_name, const char *path, PyObject **ret_function,
                   PyObject **ret_owner)
{
    char name[HANDLER_NAME_MAX + 1];
    text_copy(name, sizeof name, path);
    char *method = strchr(name, '.');
    if (method != NULL) {
        *method++ = '\0';
    }
    PyObject *found = PyObject_GetAttrString(module, name);
    if (found == NULL) {
        return fail_attribute(module, module_name, name);
    }
    PyObject *owner = NULL;
    if (method != NULL) {
        owner = found;
        int code = EXIT_OK;
        if (PyType_Check(found)) {
            code = instantiate(found, name, &owner);
            Py_DECREF(found);
        }
        if (code != EXIT_OK) {
            return code;
        }
        found = PyObject_GetAttrString(owner, method);
        if (found == NULL) {
            code = fail_attribute(owner, name, method);
            Py_DECREF(owner);
            return code;
        }
    } else if (is_callable_instance(found)) {
        owner = found;
        Py_INCREF(owner);
    }
    if (!PyCallable_Check(found)) {
        char type[ERROR_TYPE_SIZE];
        PyObject *class = PyObject_Type(found);
        attribute_text(class, "__name__", type, sizeof type);
        Py_XDECREF(class);
        Py_DECREF(found);
        Py_XDECREF(owner);
        log_error("'%s' of module '%s' is a %s, which cannot be called", path, module_name, type);
        return EXIT_NOT_CALLABLE;
    }
    *ret_function = found;
    *ret_owner = owner;
    return EXIT_OK;
}

int handler_load(const char *name, PyObject **ret_function, PyObject **ret_owner)
{
    char module_name[HANDLER_NAME_MAX + 1];
    text_copy(module_name, sizeof module_name, name);
    char *path = strchr(module_name, ':');
    if (path != NULL) {
        *path++ = '\0';
    }
    PyObject *module = PyImport_ImportModule(module_name);
    if (module == NULL) {
        return fail_import(module_name);
    }
    int code = resolve(module, module_name, path != NULL ? path : "process", ret_function, ret_owner);
    Py_DECREF(module);
    return code;
}
