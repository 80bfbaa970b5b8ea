/*
 * Python sources (src/python/glue/) for code that would only be longer in C. tools/embed.py embeds them; each is run
 * when it is first needed. Needs the GIL.
 */
#ifndef ASYA_PYTHON_GLUE_H
#define ASYA_PYTHON_GLUE_H

#include <Python.h>

extern const char glue_leftovers[]; /* threads and processes for which the end of the interpreter waits */
extern const char glue_log[];       /* the function's own logging */
extern const char glue_loop[];      /* asyncio */
extern const char glue_metrics[];   /* the user's own counters, gauges and histograms */
extern const char glue_readers[];   /* reading payloads, for glue_typed */
extern const char glue_results[];   /* objects in results that JSON does not know */
extern const char glue_spans[];     /* OpenTelemetry */
extern const char glue_stacks[];    /* the stacks of a call */
extern const char glue_stdio[];     /* standard output and error */
extern const char glue_template[];  /* what workers are forked from */
extern const char glue_typed[];     /* payloads by annotation */

/* Runs a source with `names` (borrowed) as its globals. 0, or -1 with an exception. */
int glue_run(const char *source, const char *title, PyObject *names);

#endif
