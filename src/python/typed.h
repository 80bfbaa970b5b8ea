/*
 * Typed payloads: before the call, the payload is converted to the annotation of the function's first parameter, which
 * may be a pydantic model, a msgspec Struct, a dataclass, a TypedDict, a NamedTuple, or a standard type that dumps()
 * writes (docs/handlers.md). Without an annotation, and with `dict`, Any and JSON's own types, the payload stays as it
 * is, which costs nothing.
 *
 * An annotation is read once, at the start, with everything it contains. If a part of it is not understood, the start
 * is refused: a payload is never passed on unchecked as if it had been checked.
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_TYPED_H
#define ASYA_PYTHON_TYPED_H

#include <Python.h>

/* Makes the converter for `function`: a new reference to a callable of one argument that raises a ValueError naming the
 * field, or NULL in `*ret_converter` if payloads are not to be converted. Returns EXIT_OK; the exit code of
 * a start whose annotation is refused, with the reason in the log; or -1 with an exception. */
int typed_converter(PyObject *function, PyObject **ret_converter);

#endif
