/*
 * A few spare descriptors, for the moment in which a message with a descriptor is received.
 *
 * When accept() finds no free number, the client stays in the backlog. A message from the queue is different: it is
 * taken all the same, and the connection in it is lost. To check for a free number first is not enough, since a thread
 * of the function may take it in between. So a few numbers are kept above the soft limit (RLIMIT_NOFILE), where the
 * function cannot get them, and when numbers are scarce the limit is raised for the time of the call.
 */
#ifndef ASYA_SERVER_SPARE_H
#define ASYA_SERVER_SPARE_H

#include <stdbool.h>
#include <stdint.h>

struct spare {
    uint64_t limit; /* soft limit of descriptors; 0: not known */
    bool is_kept;   /* there are numbers above it that can be lent */
};

/* Lowers the soft limit by a few if the hard limit leaves no room above it. */
void spare_keep(struct spare *ret_spare);

/* Looks for a free number above the standard descriptors. Returns it (it stays free), or -errno. */
int spare_find(void);

/* Raises the soft limit if `number`, the lowest free one, is among the last. Returns the limit before, for
 * spare_take_back(); 0: it was not raised. */
uint64_t spare_lend(const struct spare *spare, int number);

void spare_take_back(uint64_t before);

#endif
