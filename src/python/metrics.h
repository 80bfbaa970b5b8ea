/*
 * asya_runtime.metrics: counters, gauges and histograms of the user's own (docs/handlers.md, "Metrics").
 *
 * Their values lie in memory that all workers share (base/series.h). In a program that is not a worker (a test, a
 * notebook) they lie in memory of this process and count there. The rarely used part (names, labels) is Python code in
 * glue/metrics.py, which is run when it is first needed. Needs the GIL.
 */
#ifndef ASYA_PYTHON_METRICS_H
#define ASYA_PYTHON_METRICS_H

#include "base/series.h"

#include <Python.h>

/* Adds the module `metrics` to `module`, and to sys.modules, so that `from asya_runtime.metrics import counter` works
 * with the single file, too. 0, or -1 with an exception. */
int metrics_add(PyObject *module);

/* This process is worker `place`, and counts in `series` from now on. Before the user's module is imported. */
void metrics_use(struct series *series, uint32_t place);

#endif
