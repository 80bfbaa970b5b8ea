/*
 * Cancelling a request: the signals from the supervisor to a worker, and the texts of the errors. No state.
 *
 * The supervisor writes the reason and then the request's sequence number into its slot on the scoreboard, then sends
 * CANCEL_SIGNAL. If that request still runs, the worker raises an exception in the function. STACK_SIGNAL makes the
 * interpreter write its Python stacks to a descriptor that the supervisor reads. NEWS_SIGNAL tells a worker that the
 * supervisor has written a new log level, or a request for the stacks of tasks, on the scoreboard. They are real-time
 * signals with high numbers, which libraries do not use.
 */
#ifndef ASYA_SERVER_CANCEL_H
#define ASYA_SERVER_CANCEL_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum { NEWS_SIGNAL = 59, STACK_SIGNAL = 60, CANCEL_SIGNAL = 61 };

/* The worker writes this byte before the stack of the cancelled request, so that the log can show that stack before
 * those that faulthandler wrote. */
#define STACK_MARK '\f'

/* The reply to a request that ran longer than `limit` nanoseconds (ASYA_HANDLER_TIMEOUT): processing_error of type
 * HandlerTimeout. */
void cancel_timeout_error(struct error *err, uint64_t limit);

/* Likewise; `is_callers`: it was the caller's deadline that has passed (docs/protocol.md). */
void cancel_late_error(struct error *err, uint64_t limit, bool is_callers);

/* Likewise, if the caller's deadline had passed before the function was called. */
void cancel_expired_error(struct error *err);

/* The reply to a request that did not finish before the runtime stopped: server_error. */
void cancel_stopping_error(struct error *err);

#endif
