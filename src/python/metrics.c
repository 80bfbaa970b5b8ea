#include "python/metrics.h"

#include "base/log.h"
#include "codec/pyabi.h"
#include "python/glue.h"
#include "python/object.h"

#include <errno.h>
#include <sys/mman.h>

/*
 * A metric is an object of one class, whatever its kind: one with labels has children, by the values of its labels, and
 * its children have cells. glue/metrics.py makes them, by `cell`, and finds or makes a child where labels() does not
 * know it yet: that is `make`.
 */
struct metric {
    PYABI_HEAD
    _Atomic uint64_t *cells; /* NULL: there was no room, or it has labels */
    uint32_t kind;
    uint32_t bounds;
    bool has_labels;
    bool is_each;       /* a gauge with a cell for each worker: which one, is known when it is set */
    PyObject *bound;    /* owned: a tuple of floats */
    PyObject *children; /* owned: a dict by tuples of str; NULL for a child */
    PyObject *make;     /* owned; NULL for a child */
};

static PyTypeObject *type;
static PyObject *names; /* the module's dict, in which the glue runs */
static bool is_ready;   /* it has run */
static struct series *series;
static uint32_t place;

/* ---- where they count ------------------------------------------------------------------------------------------- */

void metrics_use(struct series *new_series, uint32_t new_place)
{
    series = new_series;
    place = new_place;
}

/* Not a worker: memory of its own, shared with children it forks. */
static bool metrics_open(void)
{
    if (series == NULL) {
        void *memory = mmap(NULL, SERIES_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        series = memory != MAP_FAILED ? series_make(memory, 1) : NULL;
    }
    return series != NULL;
}

static void metrics_drop(void)
{
    if (series != NULL) {
        atomic_fetch_add_explicit(&series->dropped, 1, memory_order_relaxed);
    }
}

/* Once for all workers. */
static void metrics_warn(const char *name)
{
    if (series == NULL || atomic_exchange_explicit(&series->warned, 1, memory_order_relaxed) == 0) {
        log_warning(
            EVENT_METRICS_FULL,
            "metrics: no room for %s: %d bytes are shared by all of them, or another worker has one of this name "
            "that is different. What has no room is counted in asya_runtime_user_metrics_dropped_total",
            name, SERIES_SIZE);
    }
}

/* A process that was forked from the template has metrics that were made there. */
static _Atomic uint64_t *metrics_own_cell(const struct metric *metric)
{
    return &metric->cells[metric->is_each ? place : 0];
}

/* ---- changes ---------------------------------------------------------------------------------------------------- */

static struct metric *metric_of(PyObject *self) { return PYABI_OWN(self, type); }

/* The number that a method was given. `*number` is what stands for none, and NaN where there must be one. False with an
 * exception. */
static bool metric_number(PyObject *arguments, double *number)
{
    Py_ssize_t count = PyTuple_Size(arguments);
    if (count == 1) {
        *number = PyFloat_AsDouble(PyTuple_GetItem(arguments, 0));
        return *number != -1 || PyErr_Occurred() == NULL;
    }
    if (count > 1 || *number != *number) {
        PyErr_SetString(PyExc_TypeError, "takes one number");
        return false;
    }
    return true;
}

/* Whether there is a cell to change. If not, `*ret_answer` is what the method returns: None where there was no room, an
 * exception where the metric has labels or is of another kind. */
static bool metric_is_open(const struct metric *metric, bool is_right_kind, const char *method, PyObject **ret_answer)
{
    if (is_right_kind && metric->cells != NULL) {
        return true;
    }
    if (!is_right_kind) {
        *ret_answer = PyErr_Format(PyExc_TypeError, "a %s has no %s()",
                                   metric->kind == SERIES_COUNTER ? "counter"
                                   : metric->kind == SERIES_GAUGE ? "gauge"
                                                                  : "histogram",
                                   method);
    } else if (metric->has_labels) {
        *ret_answer = PyErr_Format(PyExc_ValueError, "it has labels: .labels(...).%s()", method);
    } else {
        metrics_drop();
        *ret_answer = object_none();
    }
    return false;
}

/* How each change begins: there is a cell, and a number that was given. If not, `*ret_answer` is what the method
 * returns. */
static bool metric_begin(const struct metric *metric, bool is_right_kind, const char *method, PyObject *arguments,
                         double *number, PyObject **ret_answer)
{
    if (!metric_is_open(metric, is_right_kind, method, ret_answer)) {
        return false;
    }
    *ret_answer = NULL;
    return metric_number(arguments, number);
}

static PyObject *metric_add(PyObject *self, PyObject *arguments, double sign, const char *method)
{
    const struct metric *metric = metric_of(self);
    bool is_counter = metric->kind == SERIES_COUNTER && sign > 0;
    PyObject *answer;
    double amount = 1;
    if (!metric_begin(metric, is_counter || metric->kind == SERIES_GAUGE, method, arguments, &amount, &answer)) {
        return answer;
    }
    if (is_counter && !(amount >= 0)) {
        PyErr_SetString(PyExc_ValueError, "a counter only grows");
        return NULL;
    }
    series_add(metrics_own_cell(metric), sign * amount);
    return object_none();
}

static PyObject *metric_inc(PyObject *self, PyObject *arguments) { return metric_add(self, arguments, 1, "inc"); }

static PyObject *metric_dec(PyObject *self, PyObject *arguments) { return metric_add(self, arguments, -1, "dec"); }

static PyObject *metric_set(PyObject *self, PyObject *arguments)
{
    const struct metric *metric = metric_of(self);
    PyObject *answer;
    double value = __builtin_nan("");
    if (!metric_begin(metric, metric->kind == SERIES_GAUGE, "set", arguments, &value, &answer)) {
        return answer;
    }
    series_set(metrics_own_cell(metric), value);
    return object_none();
}

/* The first bucket whose bound is not below the value. NaN goes into the last one, as in Prometheus' own clients. */
static PyObject *metric_observe(PyObject *self, PyObject *arguments)
{
    const struct metric *metric = metric_of(self);
    PyObject *answer;
    double value = __builtin_nan("");
    if (!metric_begin(metric, metric->kind == SERIES_HISTOGRAM, "observe", arguments, &value, &answer)) {
        return answer;
    }
    uint32_t bucket = 0;
    while (bucket < metric->bounds &&
           !(value <= PyFloat_AsDouble(PyTuple_GetItem(metric->bound, (Py_ssize_t)bucket)))) {
        bucket++;
    }
    atomic_fetch_add_explicit(&metric->cells[bucket], 1, memory_order_relaxed);
    series_add(&metric->cells[metric->bounds + 1], value);
    return object_none();
}

static bool metric_are_texts(PyObject *values)
{
    Py_ssize_t count = PyTuple_Size(values);
    bool are = true;
    for (Py_ssize_t i = 0; i < count && are; i++) {
        are = Py_TYPE(PyTuple_GetItem(values, i)) == &PyUnicode_Type;
    }
    return are;
}

/* labels("a", "b") or labels(first="a", second="b") */
static PyObject *metric_labels(PyObject *self, PyObject *values, PyObject *named)
{
    const struct metric *metric = metric_of(self);
    if (metric->children == NULL) {
        PyErr_SetString(PyExc_ValueError, "it has no labels");
        return NULL;
    }
    if (named == NULL && metric_are_texts(values)) { /* 1, True and "1" would be one key, or two */
        PyObject *child = PyDict_GetItem(metric->children, values);
        if (child != NULL) {
            return object_own(child);
        }
    }
    PyObject *none = named == NULL ? PyDict_New() : object_own(named);
    PyObject *child = none != NULL ? PyObject_CallFunctionObjArgs(metric->make, values, none, NULL) : NULL;
    Py_XDECREF(none);
    return child;
}

/* ---- values, for tests ------------------------------------------------------------------------------------------ */

static PyObject *metric_get_value(PyObject *self, void *closure)
{
    const struct metric *metric = metric_of(self);
    (void)closure;
    uint32_t cell = metric->kind == SERIES_HISTOGRAM ? metric->bounds + 1 : metric->is_each ? place : 0;
    return PyFloat_FromDouble(metric->cells != NULL ? series_get(&metric->cells[cell]) : 0);
}

static PyObject *metric_get_count(PyObject *self, void *closure)
{
    const struct metric *metric = metric_of(self);
    unsigned long long count = 0;
    (void)closure;
    for (uint32_t i = 0; metric->kind == SERIES_HISTOGRAM && metric->cells != NULL && i <= metric->bounds; i++) {
        count += atomic_load_explicit(&metric->cells[i], memory_order_relaxed);
    }
    return PyLong_FromUnsignedLongLong(count);
}

static void metric_dealloc(PyObject *self)
{
    struct metric *metric = metric_of(self);
    PyTypeObject *class = Py_TYPE(self);
    Py_XDECREF(metric->bound);
    Py_XDECREF(metric->children);
    Py_XDECREF(metric->make);
    PyObject_Free(self);
    Py_DECREF(class); /* PyType_GenericAlloc took it */
}

/* ---- making them ------------------------------------------------------------------------------------------------ */

/* What the glue says of a family: (kind, mode, number of labels, bounds, texts). */
static bool metrics_read_spec(PyObject *tuple, double bound[SERIES_BOUNDS_MAX], struct series_spec *spec)
{
    char *texts = NULL;
    Py_ssize_t size = 0;
    PyObject *bounds = PyTuple_GetItem(tuple, 3);
    if (bounds == NULL || PyBytes_AsStringAndSize(PyTuple_GetItem(tuple, 4), &texts, &size) != 0) {
        return false;
    }
    spec->kind = (enum series_kind)PyLong_AsLong(PyTuple_GetItem(tuple, 0));
    spec->mode = (enum series_mode)PyLong_AsLong(PyTuple_GetItem(tuple, 1));
    spec->labels = (uint32_t)PyLong_AsLong(PyTuple_GetItem(tuple, 2));
    spec->bounds = (uint32_t)PyTuple_Size(bounds);
    spec->bound = bound;
    spec->texts = (struct view){texts, (size_t)size};
    for (uint32_t i = 0; i < spec->bounds && i < SERIES_BOUNDS_MAX; i++) {
        bound[i] = PyFloat_AsDouble(PyTuple_GetItem(bounds, (Py_ssize_t)i));
    }
    return PyErr_Occurred() == NULL;
}

/* The sample's cells; NULL if there is no room. */
static _Atomic uint64_t *metrics_find_cells(const struct series_spec *spec, struct view values)
{
    uint32_t family = metrics_open() ? series_family(series, spec) : 0;
    uint32_t sample = family != 0 ? series_sample(series, family, values) : 0;
    if (sample == 0) {
        metrics_warn(spec->texts.data);
        return NULL;
    }
    return series_cells(series, sample);
}

/* cell(spec, values, make): the child with these values (bytes, each with a NUL); or, with None, one that has labels
 * and makes its children by `make`. A child without room has no cell, and says so: it is not worth keeping. */
static PyObject *metrics_cell(PyObject *self, PyObject *arguments)
{
    (void)self;
    double bound[SERIES_BOUNDS_MAX];
    struct series_spec spec;
    PyObject *tuple = PyTuple_GetItem(arguments, 0);
    PyObject *values = PyTuple_GetItem(arguments, 1);
    PyObject *make = PyTuple_GetItem(arguments, 2);
    char *text = NULL;
    Py_ssize_t size = 0;
    if (make == NULL || !metrics_read_spec(tuple, bound, &spec) ||
        (values != Py_None && PyBytes_AsStringAndSize(values, &text, &size) != 0)) {
        return NULL;
    }
    PyObject *made = PyType_GenericAlloc(type, 0);
    if (made == NULL) {
        return NULL;
    }
    struct metric *metric = metric_of(made);
    metric->kind = (uint32_t)spec.kind;
    metric->bounds = spec.bounds;
    metric->bound = object_own(PyTuple_GetItem(tuple, 3));
    metric->has_labels = values == Py_None;
    metric->is_each = spec.kind == SERIES_GAUGE && spec.mode != SERIES_LAST;
    if (metric->has_labels) {
        metric->make = object_own(make);
        metric->children = PyDict_New();
    } else {
        metric->cells = metrics_find_cells(&spec, (struct view){text, (size_t)size});
    }
    if (metric->has_labels && metric->children == NULL) {
        Py_CLEAR(made);
    }
    return made;
}

/* Whether a child has a cell. */
static PyObject *metrics_has_cell(PyObject *self, PyObject *child)
{
    (void)self;
    return object_own(metric_of(child)->cells != NULL ? Py_True : Py_False);
}

static PyObject *metrics_children(PyObject *self, PyObject *metric)
{
    (void)self;
    return object_own(metric_of(metric)->children);
}

/* ---- the module ------------------------------------------------------------------------------------------------- */

/* __getattr__ of the module: what the glue defines, once it has run. */
static PyObject *metrics_get(PyObject *self, PyObject *name)
{
    (void)self;
    const char *text = PyUnicode_AsUTF8AndSize(name, NULL);
    if (text == NULL) {
        return NULL;
    }
    if (!is_ready && text[0] != '_') { /* code that searches sys.modules asks for names with '_' */
        if (glue_run(glue_metrics, "asya_runtime metrics", names) != 0) {
            return NULL;
        }
        is_ready = true;
    }
    PyObject *found = PyDict_GetItem(names, name);
    if (found == NULL) {
        PyErr_Format(PyExc_AttributeError, "asya_runtime.metrics has no %R", name);
    }
    return object_own(found);
}

static bool metrics_add_type(void)
{
    static PyMethodDef methods[] = {
        {"inc", metric_inc, METH_VARARGS, "inc(amount=1, /): adds to a counter or a gauge."},
        {"dec", metric_dec, METH_VARARGS, "dec(amount=1, /): subtracts from a gauge."},
        {"set", metric_set, METH_VARARGS, "set(value, /): of a gauge."},
        {"observe", metric_observe, METH_VARARGS, "observe(value, /): by a histogram."},
        {"labels", (PyCFunction)(void (*)(void))metric_labels, METH_VARARGS | METH_KEYWORDS,
         "labels(*values, **named): the one with these values of its labels."},
        {NULL, NULL, 0, NULL},
    };
    static PyGetSetDef attributes[] = {
        {"value", metric_get_value, NULL,
         "The sum over all workers; of a gauge this worker's value; of a histogram the sum.", NULL},
        {"count", metric_get_count, NULL, "How many values a histogram has observed.", NULL},
        {NULL, NULL, NULL, NULL, NULL},
    };
    static PyType_Slot slots[] = {
        {Py_tp_dealloc, (void *)metric_dealloc}, {Py_tp_methods, methods}, {Py_tp_getset, attributes}, {0, NULL}};
    static PyType_Spec spec = {.name = "asya_runtime.metrics.Metric",
                               .basicsize = PYABI_BASIC_SIZE(struct metric),
                               .flags = Py_TPFLAGS_DEFAULT,
                               .slots = slots};
    type = (PyTypeObject *)PyType_FromSpec(&spec);
    return type != NULL;
}

int metrics_add(PyObject *module)
{
    static PyMethodDef functions[] = {{"__getattr__", metrics_get, METH_O, NULL},
                                      {"_cell", metrics_cell, METH_VARARGS, NULL},
                                      {"_has_cell", metrics_has_cell, METH_O, NULL},
                                      {"_children", metrics_children, METH_O, NULL},
                                      {NULL, NULL, 0, NULL}};
    static const char name[] = "asya_runtime.metrics";
    PyObject *made = metrics_add_type() ? PyModule_New(name) : NULL;
    bool added = made != NULL && PyDict_SetItemString(PyImport_GetModuleDict(), name, made) == 0;
    names = added ? PyModule_GetDict(made) : NULL;
    for (PyMethodDef *function = functions; added && function->ml_name != NULL; function++) {
        added = object_set_function(names, function);
    }
    if (!added) {
        Py_XDECREF(made);
        return -1;
    }
    return PyModule_AddObject(module, "metrics", made);
}
