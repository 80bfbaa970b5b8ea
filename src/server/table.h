/*
 * Finds our connections in this process's table of descriptors.
 *
 * A connection is recognised by the name of the socket that has accepted it, not by anything in memory: the process may
 * have died in the middle of a change. Only system calls are used, so that the fdholder and a child that was
 * forked from any thread can search.
 */
#ifndef ASYA_SERVER_TABLE_H
#define ASYA_SERVER_TABLE_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

struct table_name {
    struct sockaddr_un address;
    socklen_t size;
};

/* The name that connections accepted from `listener` have. Returns 0 or -errno. */
int table_name_of(int listener, struct table_name *ret_name);

/* Whether `fd` is a connection that was accepted from the socket of this name. */
bool table_is_ours(int fd, const struct table_name *name);

/* Calls `found` with the number of each connection; `found` may close it. Ends when `found` returns false, or after
 * `gap_max` numbers in a row without a file. One system call looks at 64 numbers. */
void table_search(const struct table_name *name, int gap_max, bool (*found)(void *context, int fd), void *context);

#endif
