/*
 * traceparent of W3C Trace Context, level 1 (https://www.w3.org/TR/trace-context-1/#traceparent-header):
 *
 *   00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
 *   version, trace-id, parent-id, flags: lower-case hexadecimal digits
 *
 * Pure. A receiver must ignore one that is not valid, and tracestate with it (section 3.2.2.5): it is never an error of
 * the request.
 */
#ifndef ASYA_BASE_TRACEPARENT_H
#define ASYA_BASE_TRACEPARENT_H

#include "base/view.h"

#include <stdbool.h>

enum { TRACEPARENT_SIZE = 55, TRACE_ID_AT = 3, TRACE_ID_SIZE = 32, SPAN_ID_AT = 36, SPAN_ID_SIZE = 16 };

/* Version 00 has exactly this form; a later one (not ff) begins so, and may go on behind another '-'. An id of zeros
 * alone is not valid. */
bool traceparent_is_valid(struct view text);

#endif
