#include "python/handler.h"

#include "base/exits.h"
#include "base/log.h"
#include "base/text.h"
#include "codec/pyabi.h"
#include "python/failure.h"
#include "python/memory.h"
#include "python/raised.h"
#include "python/signature.h"

#include <string.h>

enum { TEXT_SIZE = 1024 };

/* Each byte of a character beyond ASCII counts as a letter: if it is none, there is no such module. */
static bool handler_is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || (c & 0x80) != 0;
}

static bool handler_is_digit(char c) { return c >= '0' && c <= '9'; }

/* Skips identifiers joined by dots, at most `most` of them; NULL if there is none at `text`. */
static const char *handler_skip_names(const char *text, int most)
{
    for (int count = 0;; count++) {
        if (!handler_is_letter(*text) || count == most) {
            return NULL;
        }
        while (handler_is_letter(*text) || handler_is_digit(*text)) {
            text++;
        }
        if (*text != '.') {
            return text;
        }
        text++;
    }
}

/* A file's name in the place of a module's: "handler.py", "./app/handler.py:process". */
static bool handler_is_file(const char *name)
{
    size_t size = strcspn(name, ":");
    return memchr(name, '/', size) != NULL || (size > 3 && memcmp(name + size - 3, ".py", 3) == 0);
}

static bool handler_refuse_file(const struct options *options, const char *shown, struct error *err)
{
    const char *name = options->process_module;
    size_t size = strcspn(name, ":");
    bool dotted = strcmp(options->function_variable, "ASYA_HANDLER") == 0; /* which names a function in any case */
    const char *function = name[size] == ':' ? name + size : dotted ? ".process" : "";
    size_t start = size;
    while (start > 0 && name[start - 1] != '/') {
        start--;
    }
    size -= size > 3 && memcmp(name + size - 3, ".py", 3) == 0 ? 3 : 0;
    return error_set(err, ERR_SERVER, 0,
                     "%s is '%s', which is a file: write '%.*s%.100s', with its folder on PYTHONPATH",
                     options->function_variable, shown, (int)(size > start ? size - start : 0), name + start, function);
}

/* Names in the letters of other languages are compared as Python does it in a source: by their NFKC. False if the name
 * is not UTF-8 or too long; it stays as it is then. */
static bool handler_normalise(struct options *options)
{
    static char normal[HANDLER_NAME_MAX + 1]; /* lives as long as the options */
    const char *at = options->process_module;
    while (*at != '\0' && (*at & 0x80) == 0) {
        at++;
    }
    if (*at == '\0') {
        return true;
    }
    PyObject *module = PyImport_ImportModule("unicodedata");
    PyObject *text =
        module != NULL ? PyObject_CallMethod(module, "normalize", "ss", "NFKC", options->process_module) : NULL;
    Py_ssize_t size = 0;
    const char *name = text != NULL ? PyUnicode_AsUTF8AndSize(text, &size) : NULL;
    bool fits = name != NULL && size <= HANDLER_NAME_MAX;
    if (fits) {
        memcpy(normal, name, (size_t)size + 1);
        options->handler = options->handler == options->process_module ? normal : options->handler;
        options->process_module = normal;
    }
    PyErr_Clear();
    Py_XDECREF(text);
    Py_XDECREF(module);
    return fits;
}

bool handler_check_name(struct options *options, struct error *err)
{
    bool is_text = handler_normalise(options);
    const char *name = options->process_module;
    char shown[128];
    text_copy(shown, sizeof shown, name);
    if (handler_is_file(name)) {
        return handler_refuse_file(options, shown, err);
    }
    const char *rest = handler_skip_names(name, HANDLER_NAME_MAX);
    bool is_module_alone = rest != NULL && *rest == '\0' && strchr(name, '.') == NULL;
    if (rest != NULL && *rest == ':') {
        rest = handler_skip_names(rest + 1, 2);
    }
    if (is_text && rest != NULL && *rest == '\0' && strlen(name) <= HANDLER_NAME_MAX &&
        !(options->is_dotted && is_module_alone)) {
        return true;
    }
    return error_set(err, ERR_SERVER, 0, "%s is '%s'%s, should be %s", options->function_variable, shown,
                     strlen(name) >= sizeof shown ? "..." : "",
                     options->is_dotted ? "pkg.module.func or pkg.module.Class.method"
                                        : "pkg.module:name, pkg.module or pkg.module:Class.method");
}

/* Calls a method without arguments on sys.NAME, where that is possible. */
static void handler_call_on_stream(const char *stream, const char *method)
{
    PyObject *object = PySys_GetObject(stream); /* borrowed */
    if (object != NULL && object != Py_None) {
        PyObject *result = PyObject_CallMethod(object, method, NULL);
        Py_XDECREF(result);
    }
    PyErr_Clear();
}

/* An attribute of an exception as text; "" where there is none. */
static void handler_attribute_text(PyObject *object, const char *name, char *target, size_t size)
{
    target[0] = '\0';
    PyObject *value = PyObject_GetAttrString(object, name);
    if (value != NULL && value != Py_None) {
        (void)failure_text_of(value, target, size);
    }
    PyErr_Clear();
    Py_XDECREF(value);
}

/* What a line about an exception says besides its text. */
struct handler_account {
    struct log_facts facts;
    char type[ERROR_TYPE_SIZE];
    char stack[FAILURE_TRACEBACK_SIZE];
};

/* With the traceback, as Python itself would print it. The streams are flushed first, so that what the module printed
 * stands before. */
static const struct log_facts *handler_account(const struct raised *raised, struct handler_account *account)
{
    handler_call_on_stream("stdout", "flush");
    handler_call_on_stream("stderr", "flush");
    handler_attribute_text(raised->type, "__name__", account->type, sizeof account->type);
    failure_write_traceback(raised, account->stack, sizeof account->stack);
    account->facts = (struct log_facts){.error_type = account->type, .stack = failure_frames(account->stack)};
    return &account->facts;
}

/* `name` is `module` or a package it lies in. */
static bool handler_is_module_or_parent(const char *name, const char *module)
{
    size_t size = strlen(name);
    return strncmp(name, module, size) == 0 && (module[size] == '\0' || module[size] == '.');
}

/* " (ASYA_MEMORY_LIMIT is N bytes for each worker)", where that may be why. */
static void handler_name_memory_limit(const struct raised *raised, char *target, size_t size)
{
    uint64_t limit = raised_is(raised, PyExc_MemoryError) ? memory_limit() : 0;
    target[0] = '\0';
    if (limit > 0) {
        (void)PyOS_snprintf(target, size, " (ASYA_MEMORY_LIMIT is %llu bytes for each worker)",
                            (unsigned long long)limit);
    }
}

static int handler_log_other(enum event event, const struct raised *raised, const char *doing, const char *name)
{
    struct handler_account account;
    char text[TEXT_SIZE];
    char limit[96];
    const struct log_facts *facts = handler_account(raised, &account);
    handler_name_memory_limit(raised, limit, sizeof limit);
    (void)failure_text_of(raised->value, text, sizeof text);
    if (raised_is(raised, PyExc_SystemExit)) {
        log_event(LOG_LEVEL_ERROR, event, facts, "%s '%s' called sys.exit(%s)", doing, name, text);
    } else {
        log_event(LOG_LEVEL_ERROR, event, facts, "%s '%s' raised %s%s%s%s", doing, name, account.type,
                  text[0] != '\0' ? ": " : "", text, limit);
    }
    return EXIT_IMPORT;
}

int handler_fail(enum event event, const char *doing, const char *name)
{
    struct raised raised = raised_take();
    int code = handler_log_other(event, &raised, doing, name);
    raised_done(&raised);
    return code;
}

/* Whether the last part of the name is not a module but something in its parent, as in "handler.process"; then
 * `target` is what should have been written: "handler:process". */
static bool handler_find_in_parent(const char *module, char *target, size_t size)
{
    text_copy(target, size, module);
    char *dot = strrchr(target, '.');
    if (dot == NULL) {
        return false;
    }
    *dot = '\0';
    PyObject *parent = PyDict_GetItemString(PyImport_GetModuleDict(), target); /* borrowed; it was imported too */
    bool found = parent != NULL && PyObject_HasAttrString(parent, dot + 1) != 0;
    *dot = ':';
    return found;
}

/* Why the import failed, in one line; the exit code that says the same. */
static int handler_log_import_failure(const struct raised *raised, const char *module, const char *variable)
{
    char text[TEXT_SIZE];
    char first[TEXT_SIZE];
    char second[64];
    struct handler_account account;
    (void)failure_text_of(raised->value, text, sizeof text);
    if (raised_is(raised, PyExc_SyntaxError)) {
        handler_attribute_text(raised->value, "filename", first, sizeof first);
        handler_attribute_text(raised->value, "lineno", second, sizeof second);
        handler_attribute_text(raised->value, "msg", text, sizeof text);
        log_event(LOG_LEVEL_ERROR, EVENT_START_FAILED, handler_account(raised, &account),
                  "syntax error in %s, line %s: %s", first, second, text);
        return EXIT_SYNTAX;
    }
    if (raised_is(raised, PyExc_ModuleNotFoundError)) {
        handler_attribute_text(raised->value, "name", first, sizeof first);
        if (first[0] == '\0' || !handler_is_module_or_parent(first, module)) {
            log_event(LOG_LEVEL_ERROR, EVENT_START_FAILED, handler_account(raised, &account),
                      "module '%s' imports '%s', which was not found: %s", module, first, text);
        } else if (handler_find_in_parent(module, second, sizeof second)) {
            log_event(LOG_LEVEL_ERROR, EVENT_START_FAILED, handler_account(raised, &account),
                      "there is no module '%s', but its parent has that name: write %s=%s", module, variable, second);
        } else {
            log_event(LOG_LEVEL_ERROR, EVENT_START_FAILED, handler_account(raised, &account),
                      "module '%s' of %s was not found: put its folder on PYTHONPATH, or start in it%s", first,
                      variable, strchr(module, '.') != NULL ? " (packages need their parent folder there)" : "");
        }
        return EXIT_NO_MODULE;
    }
    return handler_log_other(EVENT_START_FAILED, raised, "importing", module);
}

static int handler_fail_import(const char *module, const char *variable)
{
    struct raised raised = raised_take();
    int code = handler_log_import_failure(&raised, module, variable);
    raised_done(&raised);
    return code;
}

/* Names a user could have meant: what the object has that is public and callable, as "a, b, c". */
static void handler_list_callables(PyObject *object, char *target, size_t size)
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

/* Names that are near, by difflib, as "a, b"; "" if none is. */
static void handler_list_near(PyObject *object, const char *name, char *target, size_t size)
{
    target[0] = '\0';
    PyObject *difflib = PyImport_ImportModule("difflib");
    PyObject *names = PyObject_Dir(object);
    PyObject *near =
        difflib != NULL && names != NULL ? PyObject_CallMethod(difflib, "get_close_matches", "sO", name, names) : NULL;
    PyObject *comma = near != NULL ? PyUnicode_FromString(", ") : NULL;
    PyObject *joined = comma != NULL ? PyUnicode_Join(comma, near) : NULL;
    if (joined != NULL) {
        (void)failure_text_of(joined, target, size);
    }
    PyErr_Clear();
    Py_XDECREF(joined);
    Py_XDECREF(comma);
    Py_XDECREF(near);
    Py_XDECREF(names);
    Py_XDECREF(difflib);
}

/* What is looked up: "name" or "Class.method", in `module`, as `variable` says. */
struct wanted {
    PyObject *module;
    const char *module_name;
    const char *path;
    const char *variable;
};

static int handler_fail_attribute(const struct wanted *wanted, PyObject *owner, const char *owner_name,
                                  const char *name)
{
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return handler_fail(EVENT_START_FAILED, "looking up", name);
    }
    struct raised raised = raised_take();
    struct handler_account account;
    const struct log_facts *facts = handler_account(&raised, &account);
    raised_done(&raised);
    char names[512];
    char file[TEXT_SIZE];
    handler_attribute_text(wanted->module, "__file__", file, sizeof file);
    handler_list_near(owner, name, names, sizeof names);
    bool is_near = names[0] != '\0';
    if (!is_near) {
        handler_list_callables(owner, names, sizeof names);
    }
    log_event(LOG_LEVEL_ERROR, EVENT_START_FAILED, facts,
              "%s names '%s', but '%s' has no attribute '%s'; %s %s; module '%s' was loaded from %s", wanted->variable,
              wanted->path, owner_name, name,
              is_near ? "near to it:" : "callables there:", names[0] != '\0' ? names : "none", wanted->module_name,
              file[0] != '\0' ? file : "no file");
    return EXIT_NO_ATTRIBUTE;
}

/* Instantiates a class whose method is wanted. New reference in `*ret_instance`. */
static int handler_instantiate(PyObject *class, const char *name, PyObject **ret_instance)
{
    PyObject *instance = PyObject_CallFunctionObjArgs(class, NULL);
    if (instance != NULL) {
        *ret_instance = instance;
        return EXIT_OK;
    }
    struct raised raised = raised_take();
    /* a call that does not even enter __init__ leaves no frame: its arguments did not fit */
    bool arguments = raised_is(&raised, PyExc_TypeError) && raised.traceback == NULL;
    int code = EXIT_CONSTRUCTOR;
    if (arguments) {
        struct handler_account account;
        char text[TEXT_SIZE];
        (void)failure_text_of(raised.value, text, sizeof text);
        log_event(LOG_LEVEL_ERROR, EVENT_START_FAILED, handler_account(&raised, &account),
                  "class '%s' cannot be instantiated without arguments: %s; give its parameters defaults", name, text);
    } else {
        code = handler_log_other(EVENT_START_FAILED, &raised, "the constructor of", name);
    }
    raised_done(&raised);
    return code;
}

/* An instance whose class was given a __call__. */
static bool handler_is_callable_instance(PyObject *object)
{
    PyObject *call = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "__call__");
    PyObject *code = call != NULL ? PyObject_GetAttrString(call, "__code__") : NULL;
    PyErr_Clear();
    Py_XDECREF(code);
    Py_XDECREF(call);
    return code != NULL;
}

/* The object that `name` ends at, and, in `*ret_owner`, the instance it belongs to (or NULL). New references. */
static int handler_resolve(const struct wanted *wanted, PyObject **ret_function, PyObject **ret_owner)
{
    char name[HANDLER_NAME_MAX + 1];
    text_copy(name, sizeof name, wanted->path);
    char *method = strchr(name, '.');
    if (method != NULL) {
        *method++ = '\0';
    }
    PyObject *found = PyObject_GetAttrString(wanted->module, name);
    if (found == NULL) {
        return handler_fail_attribute(wanted, wanted->module, wanted->module_name, name);
    }
    PyObject *owner = NULL;
    if (method != NULL) {
        owner = found;
        int code = EXIT_OK;
        if (PyType_Check(found)) {
            code = handler_instantiate(found, name, &owner);
            Py_DECREF(found);
        }
        if (code != EXIT_OK) {
            return code;
        }
        found = PyObject_GetAttrString(owner, method);
        if (found == NULL) {
            code = handler_fail_attribute(wanted, owner, name, method);
            Py_DECREF(owner);
            return code;
        }
    } else if (handler_is_callable_instance(found)) {
        owner = found;
        Py_INCREF(owner);
    }
    *ret_function = found;
    *ret_owner = owner;
    return EXIT_OK;
}

/* Whether it can be called with one argument, the payload; if not, a line says what it is. */
static int handler_check_callable(const struct wanted *wanted, PyObject *function)
{
    char reason[TEXT_SIZE];
    if (signature_takes_payload(function, wanted->path, reason, sizeof reason)) {
        return EXIT_OK;
    }
    log_error(EVENT_START_FAILED, "'%s' of module '%s' %s", wanted->path, wanted->module_name, reason);
    return EXIT_NOT_CALLABLE;
}

/* Whether the exception that is set says that there is no module of just this name. */
static bool handler_is_missing(const char *module)
{
    if (!PyErr_ExceptionMatches(PyExc_ModuleNotFoundError)) {
        return false;
    }
    struct raised raised = raised_take();
    char name[HANDLER_NAME_MAX + 1];
    handler_attribute_text(raised.value, "name", name, sizeof name);
    PyErr_Restore(raised.type, raised.value, raised.traceback);
    return strcmp(name, module) == 0;
}

/* Imports the module of `name` and cuts the name in two: "module\0path". Of a dotted name the longest part that is a
 * module counts, as Asya's own runtime has it; what follows is one name or two. New reference, or NULL with the
 * exception. */
static PyObject *handler_import_longest(char *name, bool is_dotted, const char **ret_path)
{
    char *split = strchr(name, ':');
    *ret_path = "process";
    if (!is_dotted) {
        if (split != NULL) {
            *split = '\0';
            *ret_path = split + 1;
        }
        return PyImport_ImportModule(name);
    }
    split = strrchr(name, '.');
    *split = '\0';
    *ret_path = split + 1;
    PyObject *module = PyImport_ImportModule(name);
    char *earlier = strrchr(name, '.');
    if (module == NULL && earlier != NULL && handler_is_missing(name)) {
        PyErr_Clear();
        *split = '.';
        *earlier = '\0';
        *ret_path = earlier + 1;
        module = PyImport_ImportModule(name);
    }
    return module;
}

int handler_load(const struct options *options, PyObject **ret_function, PyObject **ret_owner)
{
    char name[HANDLER_NAME_MAX + 1];
    text_copy(name, sizeof name, options->process_module);
    struct wanted wanted = {.module_name = name, .variable = options->function_variable};
    wanted.module = handler_import_longest(name, options->is_dotted, &wanted.path);
    if (wanted.module == NULL) {
        return handler_fail_import(name, wanted.variable);
    }
    int code = handler_resolve(&wanted, ret_function, ret_owner);
    if (code == EXIT_OK) {
        code = handler_check_callable(&wanted, *ret_function);
        if (code != EXIT_OK) {
            Py_CLEAR(*ret_function);
            Py_CLEAR(*ret_owner);
        }
    }
    Py_DECREF(wanted.module);
    return code;
}
