/*
 * Writes a function's result as JSON, in the form of each protocol (docs/protocol.md).
 *
 *   bare JSON       {"status":"ok","result":VALUE}
 *   length prefix   a list of items: frames around payloads, or, in whole-message mode, the messages the function gave
 *   HTTP            {"frames":[FRAME]}, or status 204 for None
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_RESULT_H
#define ASYA_PYTHON_RESULT_H

#include "python/call.h"

/* Appends one item: number `index` of `count`, whose path in an error text begins with `root`. For bare JSON that is
 * the value alone. False with `err`; if its category is ERR_NONE, the exception that is set says why. */
bool result_write_item(struct call *call, PyObject *item, const char *root, Py_ssize_t index, Py_ssize_t count,
                       struct error *err);

/* What encode() has written, or not; then the exception of an object's own code is kept in the call, for the reply, the
 * log and error trackers. An exception stays set where the category is ERR_NONE. Gives `written` back. */
bool result_keep_raised(struct call *call, bool written, const struct error *err);

/* Appends the whole of a reply to a plain result. Failures as above. */
bool result_write(struct call *call, PyObject *result, struct error *err);

#endif
