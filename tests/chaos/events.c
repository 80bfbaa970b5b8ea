#include "events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One event's parts, ended by NUL in place. False if none stands there. */
static bool next_event(char **at, const char **ret_name, const char **ret_data)
{
    char *data = strstr(*at, "\ndata: ");
    char *end = strstr(*at, "\n\n");
    if (strncmp(*at, "event: ", 7) != 0 || data == NULL || end == NULL || data > end) {
        return false;
    }
    *data = *end = '\0';
    *ret_name = *at + 7;
    *ret_data = data + 7;
    *at = end + 2;
    return true;
}

/* Whether it is event `index` of the order. */
static bool is_own(const struct order *order, unsigned index, const char *data, int *ret_worker)
{
    char own[200];
    const char *worker = strstr(data, "\"worker\":");
    *ret_worker = worker != NULL ? (int)strtol(worker + strlen("\"worker\":"), NULL, 10) : 0;
    (void)snprintf(own, sizeof own,
                   "{\"payload\":{\"number\":%llu,\"event\":%u,\"worker\":%d},\"route\":{\"prev\":[\"a\"],\"curr\":"
                   "\"b\",\"next\":[]}}",
                   (unsigned long long)order->number, index, *ret_worker);
    return strcmp(own, data) == 0;
}

enum verdict events_judge(const struct order *order, const char *text, size_t size, bool whole, bool shared,
                          int *ret_worker)
{
    static _Thread_local char events[LINK_ROOM];
    char *at = memcpy(events, text, size + 1);
    const char *name;
    const char *data;
    unsigned count = 0;
    bool failed = false;
    bool done = false;
    *ret_worker = 0;
    while (next_event(&at, &name, &data)) {
        if (done) {
            return VERDICT_DUPLICATED;
        }
        if (strcmp(name, "downstream") == 0) {
            if (failed || count >= order->events || !is_own(order, count, data, ret_worker)) {
                return VERDICT_MISPAIRED;
            }
            count++;
        } else if (strcmp(name, "error") == 0 && !failed) {
            failed = true;
            enum verdict verdict = verdict_of_other(order, FORM_HTTP, data, strlen(data), shared);
            if (verdict != VERDICT_ERROR) {
                return verdict;
            }
        } else if (strcmp(name, "done") == 0 && strcmp(data, "{}") == 0) {
            done = true;
        } else {
            return VERDICT_WRONG;
        }
    }
    if (*at != '\0') {
        return VERDICT_WRONG; /* a chunk is an event: no part of one may stand there */
    }
    if (!whole) {
        return VERDICT_CUT;
    }
    if (failed && done) {
        return VERDICT_ERROR;
    }
    return done && count == order->events ? VERDICT_OK : VERDICT_TRUNCATED;
}
