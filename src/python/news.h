/*
 * What the supervisor wants of a worker besides requests: another level of the log, or to know where its tasks are. It
 * writes that on the scoreboard and sends NEWS_SIGNAL (server/cancel.h). The handler runs in the main thread between
 * two bytecodes, and raises nothing: no request notices. A system call that can be continued is.
 *
 * Needs the GIL.
 */
#ifndef ASYA_PYTHON_NEWS_H
#define ASYA_PYTHON_NEWS_H

#include "server/service.h"

/* `board` may be NULL: then there is nobody to send news. */
void news_install(struct scoreboard *board);

/* Before the interpreter ends, which would put back what ends a process at this signal. */
void news_end(void);

#endif
