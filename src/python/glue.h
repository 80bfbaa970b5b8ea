/*
 * Python sources (src/python/glue/) for what would only be longer in C. tools/embed.py embeds them; each is run when it
 * is first needed. Needs the GIL.
 */
#ifndef ASYA_PYTHON_GLUE_H
#define ASYA_PYTHON_GLUE_H

#include <Python.h>

extern const char glue_leftovers[]; /* what the end of the interpreter waits for */
extern const char glue_log[];       /* the function's own logging */
extern const char glue_loop[];      /* asyncio */
extern const char glue_metrics[];   /* counters, gauges and histograms of the user's */
extern const char glue_readers[];   /* how payloads are read, for glue_typed */
extern const char glue_results[];   /* what stands for objects in results */
extern const char glue_spans[];     /* OpenTelemetry */
extern const char glue_stacks[];    /* where a call is */
extern const char glue_stdio[];     /* standard output and error */
extern const char glue_typed[];     /* payloads by annotation */

/* Runs a source with `names` (borrowed) as its globals. 0, or -1 with an exception. */
int glue_run(const char *source, const char *title, PyObject *names);

#endif
