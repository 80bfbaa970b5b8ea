/*
 * What wraps a payload: id, route, headers, status (docs/protocol.md). Bare JSON has no envelope: there
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
    /* all owned; NULL where the message lacks it */
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

/* Opens a decoded message, which is taken over even on failure. With `whole` the function gets the message itself,
 * so a copy is kept of what it may not change. 0, or -1 with an exception: with `validate` the ValueError that the
 * protocol demands, word for word. */
int envelope_open(struct envelope *envelope, PyObject *message, enum protocol protocol, bool validate, bool whole);
void envelope_close(struct envelope *envelope);

/* A dict of id, parent_id, route, headers and status, for a generator to read and change: copies, made at the first
 * call. Borrowed. */
PyObject *envelope_fields(struct envelope *envelope);

/* The id and trace for log lines about this message: its own, or those of `transport` where it has none or an invalid
 * one. Borrows from both. Clears an exception that is set. */
struct log_request envelope_about(const struct envelope *envelope, const struct log_request *transport);

/* When the caller will abandon the message (status.deadline_at, docs/protocol.md), in nanoseconds since 1970; 0: there
 * is no deadline. An invalid one is ignored, with one warning. Clears an exception that is set. */
uint64_t envelope_deadline(const struct envelope *envelope);

/* Appends a text to the reply. False with `err` if there is no memory. */
bool envelope_append(struct buffer *out, const char *text, struct error *err);

/* Appends the frame {"payload":P,"route":R,...} with the route advanced and everything as it is now. `root` begins the
 * path in an error about the payload. False with `err`; then `out` is cut back. */
bool envelope_write_frame(const struct envelope *envelope, PyObject *payload, const char *root, struct buffer *out,
                          struct error *err);

/* Whole-message mode: checks a message that the function returned, number `index` of `count`, and reduces it to the
 * fields that the protocol knows. New reference, or NULL with the ValueError that the protocol demands. Without
 * `validate` it is `message` itself. */
PyObject *envelope_check_output(const struct envelope *envelope, PyObject *message, bool validate, Py_ssize_t index,
                                Py_ssize_t count);

#endif
