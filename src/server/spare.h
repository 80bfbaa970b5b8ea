/*
 * Descriptors to spare, for the moment in which one is received.
 *
 * accept() without one leaves the client in the backlog. A message with a descriptor is taken all the same, and the
 * connection in it is lost; looking before whether there is one does not help, since a thread of the function may take
 * it in between. So a few numbers are kept above the soft limit (RLIMIT_NOFILE), out of the function's reach, and
 * where numbers are scarce the limit is raised for that moment.
 */
#ifndef ASYA_SERVER_SPARE_H
#define ASYA_SERVER_SPARE_H

#include <stdbool.h>
#include <stdint.h>

struct spare {
    uint64_t limit; /* descriptors, at most; 0: not known */
    bool is_kept;   /* some above that can be lent */
};

/* Lowers the soft limit by a few where the hard one leaves no room above. */
void spare_keep(struct spare *ret_spare);

/* Looks for one more, above the standard ones. Returns its number, which is free again, or -errno. */
int spare_find(void);

/* Raises the limit if `number`, the lowest that is free, is one of the last. Returns what it was, for
 * spare_take_back(); 0: it stays. */
uint64_t spare_lend(const struct spare *spare, int number);

void spare_take_back(uint64_t before);

#endif
