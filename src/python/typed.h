/*
 * Typed payloads, opt in by annotation: the payload is read into what the function's first parameter is annotated with
 * before the call: pydantic models, msgspec Structs, dataclasses, TypedDicts, NamedTuples, and the standard types that
 * dumps() writes (docs/handlers.md). `dict`, Any, json's own types and no annotation leave it as it is, and cost
 * nothing.
 *
 * The rule: an annotation is looked at once, at the start, with all it holds. What is not understood there is refused
 * there; a payload is never passed on as if it had been looked at.
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_TYPED_H
#define ASYA_PYTHON_TYPED_H

#include <Python.h>

/* What turns a payload into what `function` asks for: a new reference to a callable of one argument that raises
 * ValueError naming the field, or NULL in `*ret_converter` where it asks for nothing. Returns EXIT_OK; the exit code of
 * a start whose annotation is refused, with the reason in the log; or -1 with an exception. */
int typed_converter(PyObject *function, PyObject **ret_converter);

#endif
