/*
 * The supervisor's requests to a worker that serves: a new log level, or the stacks of its tasks. The supervisor writes
 * the request on the scoreboard and sends NEWS_SIGNAL (server/cancel.h). The handler runs in the main thread between
 * two bytecodes and raises no exception, so requests are not affected. System calls are restarted where possible
 * (SA_RESTART).
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_NEWS_H
#define ASYA_PYTHON_NEWS_H

#include "server/service.h"

/* `board` may be NULL: then there is nobody to send news. */
void news_install(struct scoreboard *board);

/* To be called before the interpreter ends: it would restore the default action of this signal, which ends the process.
 */
void news_end(void);

#endif
