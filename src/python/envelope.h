/*
 * What wraps a payload: id, route, headers, status (wire contract, sections 2 and 3). Bare JSON has no envelope: there
 * the message is the payload, and the rest is empty.
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_ENVELOPE_H
#define ASYA_PYTHON_ENVELOPE_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"
#include "python/route.h"
#include "wire/protocol.h"

#include <stdbool.h>

struct envelope {
    enum route_form form;
    /* all owned; NULL where the message has none */
    PyObject *message; /* NULL for bare JSON */
    PyObject *payload;
    PyObject *route;
    PyObject *headers;
    PyObject *status;
    PyObject *id;
    PyObject *parent_id;
    PyObject *passed;  /* whole-message mode: the actors the function must keep, copied before the call */
    PyObject *current; /* and the position among them */
    PyObject *fields;  /* what a generator may read and change (python/command.h); NULL until it does */
};

/* Opens a decoded message, which is taken over also on failure. `whole`: the function gets the message itself, so what
 * it may not change is copied. 0, or -1 with an exception: the ValueError the contract words, if `validate`. */
int envelope_open(struct envelope *envelope, PyObject *message, enum protocol protocol, bool validate, bool whole);
void envelope_close(struct envelope *envelope);

/* {"id","parent_id","route","headers","status"} as copies, made at the first call. Borrowed. */
PyObject *envelope_fields(struct envelope *envelope);

/* Whom a log line about this message names: its own id and traceparent, or, where it has none, those of `transport`.
 * Borrows from both. Clears an exception that is set. */
struct log_request envelope_about(const struct envelope *envelope, const struct log_request *transport);

/* Appends a text of the reply's. False with `err` if there is no memory. */
bool envelope_append(struct buffer *out, const char *text, struct error *err);

/* Appends the frame {"payload":P,"route":R,...} with the route advanced and everything as it is now. `root` begins the
 * path in an error about the payload. False with `err`; then `out` is cut back. */
bool envelope_write_frame(const struct envelope *envelope, PyObject *payload, const char *root, struct buffer *out,
                          struct error *err);

/* Whole-message mode: a message the function returned as number `index` of `count`, reduced to the fields the contract
 * knows. New reference, or NULL with the ValueError the contract words. Without `validate` it is `message` itself. */
PyObject *envelope_check_output(const struct envelope *envelope, PyObject *message, bool validate, Py_ssize_t index,
                                Py_ssize_t count);

#endif
