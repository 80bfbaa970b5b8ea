/*
 * Error replies, in the words of each protocol (wire contract).
 *
 *   bare JSON      {"error":CODE,"message":TEXT}, and "type" for processing_error
 *   length prefix  [{"error":CODE,"details":{"message","type","traceback"}}]
 *   HTTP           {"error":CODE,"details":{"message","type","mro","traceback"}}, status 400 or 500
 *
 * In the latter two CODE says whose fault it is: msg_parsing_error before the call, processing_error from then on.
 */
#ifndef ASYA_PYTHON_ERROR_REPLY_H
#define ASYA_PYTHON_ERROR_REPLY_H

#include "base/buffer.h"
#include "python/failure.h"
#include "server/service.h"

#include <stdbool.h>

/* Replaces the content of `out` by the error reply; on failure (memory, limit) leaves it empty. */
void error_reply_write(enum protocol protocol, bool before_call, const struct failure *failure, struct buffer *out);

#endif
