/*
 * From a message's bytes to the bytes of its reply, through the user's function: the server's service in a worker.
 *
 * The GIL is held only here, and only while Python objects are touched.
 */
#ifndef ASYA_PYTHON_ANSWER_H
#define ASYA_PYTHON_ANSWER_H

#include "python/failure.h"
#include "server/service.h"

#include <sys/types.h>

struct answerer {
    PyObject *function;     /* owned; NULL for the echo function */
    PyThreadState *thread;  /* the main thread's, while the GIL is released */
    uint64_t timeout;       /* ASYA_HANDLER_TIMEOUT in ns, for the reply's text */
    pid_t pid;              /* ours: a function that forks must not answer twice */
    struct failure failure; /* memory reserved beforehand */
};

/* The service over `answerer`, which is borrowed and must not move. Its calls need the GIL released with
 * `answerer->thread = PyEval_SaveThread()`. */
struct service answer_service(struct answerer *answerer);

#endif
