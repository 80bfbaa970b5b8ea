/*
 * Typed payloads, opt in by annotation: if the function's first parameter is annotated with a pydantic model (version 2
 * or 1), a dataclass, a TypedDict or a msgspec Struct, the payload is validated into it before the call. `dict`, Any,
 * and no annotation leave it as it is, and cost nothing. Annotations are resolved once, at the start.
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_TYPED_H
#define ASYA_PYTHON_TYPED_H

#include <Python.h>

/* What turns a payload into what `function` asks for: a new reference to a callable of one argument that raises
 * ValueError naming the field, or NULL in `*ret_converter` where it asks for nothing. 0, or -1 with an exception: the
 * annotation cannot be resolved. */
int typed_converter(PyObject *function, PyObject **ret_converter);

#endif
