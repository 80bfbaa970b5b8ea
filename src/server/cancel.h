/*
 * Cancelling a request: the signals between supervisor and worker, and the words for it. Pure.
 *
 * The supervisor writes reason and sequence into the request's status slot, then sends CANCEL_SIGNAL; the worker raises
 * an exception in the function if that request still runs. STACK_SIGNAL makes the interpreter write its Python stacks
 * to the descriptor the supervisor reads. Both are real-time signals from the end that libraries do not use.
 */
#ifndef ASYA_SERVER_CANCEL_H
#define ASYA_SERVER_CANCEL_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum { STACK_SIGNAL = 60, CANCEL_SIGNAL = 61 };

/* Begins what the worker writes there of the call that is meant: in the log it comes before what faulthandler wrote. */
#define STACK_MARK '\f'

/* The reply to a request that ran longer than `limit` nanoseconds (ASYA_HANDLER_TIMEOUT): processing_error, type
 * HandlerTimeout. */
void cancel_timeout_error(struct error *err, uint64_t limit);

/* Likewise; where the limit `is_callers` it was its caller's deadline (docs/protocol.md). */
void cancel_late_error(struct error *err, uint64_t limit, bool is_callers);

/* Likewise if that had passed before the function was called. */
void cancel_expired_error(struct error *err);

/* The reply to a request that does not finish before the runtime ends: server_error. */
void cancel_stopping_error(struct error *err);

#endif
