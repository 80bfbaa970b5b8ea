/*
 * GET /metrics: everything that is counted, as text for Prometheus (docs/operating.md, "Metrics").
 *
 * One pass over the ledger, the workers' tallies and the function's own metrics; what runs or waits now comes from the
 * scoreboards, which are checked, and from /proc. Nothing waits.
 */
#ifndef ASYA_SUPERVISOR_METRICS_H
#define ASYA_SUPERVISOR_METRICS_H

#include "base/buffer.h"
#include "base/view.h"
#include "server/desk.h"

#include <stdbool.h>

struct supervisor;

enum metrics_format {
    METRICS_TEXT, /* Prometheus' text format 0.0.4 */
    METRICS_OPEN, /* OpenMetrics 1.0 */
};

/* Which one a scraper wants, by the value of its header Accept: OpenMetrics if that is named and not ranked below the
 * other. */
enum metrics_format metrics_choose(struct view accept);

/* The value of Content-Type. Static storage. */
const char *metrics_type(enum metrics_format format);

/* The answer to GET /metrics. Without memory, or if it does not fit: 503. */
bool metrics_answer(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply);

/* Appends the document to `out`, whose limit bounds it. False, and `out` is as before, if it does not fit. */
bool metrics_render(struct supervisor *supervisor, enum metrics_format format, struct buffer *out);

#endif
