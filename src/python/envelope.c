#include "python/envelope.h"

#include "base/timestamp.h"
#include "base/traceparent.h"

#include "codec/encode.h"
#include "codec/pyabi.h"
#include "python/member.h"
#include "python/object.h"
#include "python/raised.h"

static int envelope_lacks(enum member member, enum route_form form)
{
    PyErr_Format(PyExc_ValueError, "Missing required field '%U' in %s", member_name(member),
                 form == ROUTE_STEPS ? "message" : "envelope");
    return -1;
}

/* What a message has, all borrowed. Each member is looked up once: a look-up takes 100 instructions and more. */
static struct envelope envelope_read(PyObject *message)
{
    return (struct envelope){.message = message,
                             .payload = member_of(message, MEMBER_PAYLOAD),
                             .route = member_of(message, MEMBER_ROUTE),
                             .headers = member_of(message, MEMBER_HEADERS),
                             .status = member_of(message, MEMBER_STATUS),
                             .id = member_of(message, MEMBER_ID),
                             .parent_id = member_of(message, MEMBER_PARENT_ID)};
}

/* In this order: the first fault is the one that is reported. */
static int envelope_check(const struct envelope *read, enum route_form form)
{
    if (read->payload == NULL) {
        return envelope_lacks(MEMBER_PAYLOAD, form);
    }
    if (read->route == NULL) {
        return envelope_lacks(MEMBER_ROUTE, form);
    }
    if (route_check(read->route, form) != 0) {
        return -1;
    }
    if (read->headers != NULL && !PyDict_Check(read->headers)) {
        PyErr_SetString(PyExc_ValueError, "Field 'headers' must be a dict");
        return -1;
    }
    if (read->id != NULL && !PyUnicode_Check(read->id)) {
        PyErr_SetString(PyExc_ValueError, "Field 'id' must be a string");
        return -1;
    }
    return 0;
}

static int envelope_keep_passed(struct envelope *envelope)
{
    PyObject *current = member_of(envelope->route, envelope->form == ROUTE_HOPS ? MEMBER_CURR : MEMBER_CURRENT);
    envelope->passed = route_passed(envelope->route, envelope->form);
    envelope->current = current != NULL ? object_own(current) : PyLong_FromLong(0);
    return envelope->passed != NULL && envelope->current != NULL ? 0 : -1;
}

int envelope_open(struct envelope *envelope, PyObject *message, enum protocol protocol, bool validate, bool whole)
{
    *envelope = (struct envelope){.form = ROUTE_NONE};
    if (protocol == PROTOCOL_RAW) {
        envelope->payload = message;
        return 0;
    }
    envelope->message = message;
    struct envelope read = envelope_read(message);
    PyObject *route = read.route;
    envelope->form = protocol == PROTOCOL_HTTP ? ROUTE_HOPS : route != NULL ? route_form_of(route) : ROUTE_ACTORS;
    if (validate && envelope_check(&read, envelope->form) != 0) {
        return -1;
    }
    envelope->payload = object_own(read.payload);
    envelope->route = object_own(route);
    if (envelope->payload == NULL || route == NULL) { /* nothing was checked, and there is nothing to work on */
        PyErr_SetString(PyExc_KeyError, envelope->payload == NULL ? "payload" : "route");
        return -1;
    }
    envelope->headers = object_own(read.headers);
    envelope->status = object_own(read.status);
    envelope->id = object_own(read.id);
    envelope->parent_id = object_own(read.parent_id);
    return whole ? envelope_keep_passed(envelope) : 0;
}

void envelope_close(struct envelope *envelope)
{
    Py_CLEAR(envelope->payload);
    if (envelope->message == NULL) {
        return;
    }
    Py_CLEAR(envelope->message);
    Py_CLEAR(envelope->route);
    Py_CLEAR(envelope->headers);
    Py_CLEAR(envelope->status);
    Py_CLEAR(envelope->id);
    Py_CLEAR(envelope->parent_id);
    Py_CLEAR(envelope->passed);
    Py_CLEAR(envelope->current);
    Py_CLEAR(envelope->fields);
}

/* ---- names --------------------------------------------------------------------------------------------------------
 */

/* UTF-8 of a str, borrowed from it; `other` for anything else, and for an empty one. */
static struct view envelope_text_of(PyObject *object, struct view other)
{
    Py_ssize_t size = 0;
    const char *text = object != NULL && PyUnicode_Check(object) ? PyUnicode_AsUTF8AndSize(object, &size) : NULL;
    if (text == NULL) {
        PyErr_Clear();
    }
    return size > 0 ? (struct view){text, (size_t)size} : other;
}

static struct view envelope_header(const struct envelope *envelope, enum member member)
{
    return envelope_text_of(member_of(envelope->headers, member), (struct view){NULL, 0});
}

struct log_request envelope_about(const struct envelope *envelope, const struct log_request *transport)
{
    struct log_request about = *transport;
    struct view traceparent = envelope_header(envelope, MEMBER_TRACEPARENT);
    about.id = envelope_text_of(envelope->id, transport->id);
    if (traceparent_is_valid(traceparent)) {
        about.traceparent = traceparent;
        about.tracestate = envelope_header(envelope, MEMBER_TRACESTATE);
    }
    return about;
}

/* ---- fields -------------------------------------------------------------------------------------------------------
 */

/* A deep copy; an empty dict for NULL and null. */
static PyObject *envelope_copy_of(PyObject *object)
{
    if (object == NULL || object == Py_None) {
        return PyDict_New();
    }
    return object_deep_copy(object);
}

static PyObject *envelope_text_or_empty(PyObject *object)
{
    return object != NULL ? object_own(object) : PyUnicode_FromString("");
}

PyObject *envelope_fields(struct envelope *envelope)
{
    if (envelope->fields != NULL) {
        return envelope->fields;
    }
    PyObject *fields = PyDict_New();
    PyObject *route = envelope->route != NULL ? envelope->route : Py_None;
    if (fields != NULL && member_set_new(fields, MEMBER_ID, envelope_text_or_empty(envelope->id)) &&
        member_set_new(fields, MEMBER_PARENT_ID, envelope_text_or_empty(envelope->parent_id)) &&
        member_set_new(fields, MEMBER_ROUTE, route_hops(route, envelope->form)) &&
        member_set_new(fields, MEMBER_HEADERS, envelope_copy_of(envelope->headers)) &&
        member_set_new(fields, MEMBER_STATUS, envelope_copy_of(envelope->status))) {
        envelope->fields = fields;
        return fields;
    }
    Py_XDECREF(fields);
    return NULL;
}

/* ---- frames -------------------------------------------------------------------------------------------------------
 */

bool envelope_append(struct buffer *out, const char *text, struct error *err)
{
    return buffer_append(out, text, strlen(text)) == BUFFER_OK ||
           error_set(err, ERR_MEMORY, 0, "no memory for the reply");
}

/* Making a frame raises only for want of memory. */
static bool envelope_fail_memory(struct error *err)
{
    PyErr_Clear();
    return error_set(err, ERR_MEMORY, 0, "no memory for the reply");
}

/* HTTP leaves out what is empty; the length prefix has whatever the message had. */
static bool envelope_write_member(struct buffer *out, const char *key, PyObject *value, bool even_empty,
                                  struct error *err)
{
    if (value == NULL || (!even_empty && PyObject_IsTrue(value) == 0)) {
        return true;
    }
    return envelope_append(out, ",\"", err) && envelope_append(out, key, err) && envelope_append(out, "\":", err) &&
           encode(value, key, out, err);
}

static bool envelope_write_route(const struct envelope *envelope, PyObject *fields, struct buffer *out,
                                 struct error *err)
{
    PyObject *next = member_of(member_of(fields, MEMBER_ROUTE), MEMBER_NEXT);
    PyObject *route = route_advance(envelope->route, envelope->form, next);
    if (route == NULL) {
        return envelope_fail_memory(err);
    }
    bool written = envelope_append(out, ",\"route\":", err) && encode(route, "route", out, err);
    Py_DECREF(route);
    return written;
}

bool envelope_write_frame(const struct envelope *envelope, PyObject *payload, const char *root, struct buffer *out,
                          struct error *err)
{
    size_t before = out->size;
    PyObject *fields = envelope->fields;
    PyObject *headers = fields != NULL ? member_of(fields, MEMBER_HEADERS) : envelope->headers;
    PyObject *status = fields != NULL ? member_of(fields, MEMBER_STATUS) : envelope->status;
    bool http = envelope->form == ROUTE_HOPS;
    bool even_empty = !http && fields == NULL;
    if (envelope_append(out, "{\"payload\":", err) && encode(payload, root, out, err) &&
        envelope_write_route(envelope, fields, out, err) &&
        (envelope->form == ROUTE_STEPS || envelope_write_member(out, "headers", headers, even_empty, err)) &&
        (!http || envelope_write_member(out, "status", status, false, err)) && envelope_append(out, "}", err)) {
        return true;
    }
    out->size = before;
    return false;
}

/* ---- whole messages -----------------------------------------------------------------------------------------------
 */

static PyObject *envelope_reduce(PyObject *message, enum route_form form)
{
    static const unsigned char kept[] = {MEMBER_PAYLOAD,   MEMBER_ROUTE,   MEMBER_ID,
                                         MEMBER_PARENT_ID, MEMBER_HEADERS, MEMBER_STATUS};
    PyObject *reduced = PyDict_New();
    size_t count = sizeof kept - (form != ROUTE_HOPS); /* the length prefix has no status */
    for (size_t i = 0; reduced != NULL && i < count; i++) {
        PyObject *value = member_of(message, kept[i]);
        if (value != NULL && !member_set(reduced, kept[i], value)) {
            Py_CLEAR(reduced);
        }
    }
    return reduced;
}

/* Puts into the text of the ValueError which of the outputs it is about. */
static void envelope_name_output(enum route_form form, Py_ssize_t index, Py_ssize_t count)
{
    if (PyErr_ExceptionMatches(PyExc_ValueError) != 0) {
        struct raised raised = raised_take();
        PyErr_Format(PyExc_ValueError, "Invalid output %s[%zd/%zd]: %S", form == ROUTE_STEPS ? "message" : "envelope",
                     index, count, raised.value);
        raised_done(&raised);
    }
}

/* Over HTTP the runtime advances the route, unless the function has changed it itself. Takes over `message`. */
static PyObject *envelope_move_on(const struct envelope *envelope, PyObject *message)
{
    PyObject *route = envelope->form == ROUTE_HOPS ? member_of(message, MEMBER_ROUTE) : NULL;
    PyObject *advanced = route != NULL ? route_advance_from(route, envelope->passed, envelope->current) : NULL;
    PyObject *moved = advanced != NULL ? PyDict_Copy(message) : NULL;
    if (advanced == NULL && PyErr_Occurred() == NULL) {
        return message;
    }
    if (moved != NULL && !member_set(moved, MEMBER_ROUTE, advanced)) {
        Py_CLEAR(moved);
    }
    Py_XDECREF(advanced);
    Py_DECREF(message);
    return moved;
}

PyObject *envelope_check_output(const struct envelope *envelope, PyObject *message, bool validate, Py_ssize_t index,
                                Py_ssize_t count)
{
    if (!validate) {
        return envelope_move_on(envelope, object_own(message));
    }
    enum route_form form = envelope->form;
    struct envelope read = envelope_read(message);
    PyObject *reduced = envelope_check(&read, form) == 0 &&
                                route_check_passed(read.route, form, envelope->passed, envelope->current) == 0
                            ? envelope_reduce(message, form)
                            : NULL;
    if (reduced == NULL) {
        envelope_name_output(form, index, count);
        return NULL;
    }
    return envelope_move_on(envelope, reduced);
}

uint64_t envelope_deadline(const struct envelope *envelope)
{
    static bool is_warned;
    uint64_t deadline = 0;
    PyObject *at = member_of(envelope->status, MEMBER_DEADLINE_AT); /* borrowed */
    if (at == NULL || at == Py_None) {
        PyErr_Clear();
        return 0;
    }
    PyObject *bytes = PyUnicode_Check(at) ? PyUnicode_AsEncodedString(at, "utf-8", "strict") : NULL;
    char *data = NULL;
    Py_ssize_t size = 0;
    bool is_read = bytes != NULL && PyBytes_AsStringAndSize(bytes, &data, &size) == 0 &&
                   timestamp_parse((struct view){data, (size_t)size}, &deadline);
    PyErr_Clear();
    Py_XDECREF(bytes);
    if (!is_read && !is_warned) {
        is_warned = true;
        log_warning(EVENT_DEADLINE_IGNORED, "status.deadline_at of a message is not an RFC 3339 time, and is ignored");
    }
    return is_read ? deadline : 0;
}
