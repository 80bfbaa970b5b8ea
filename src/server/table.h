/*
 * This process's table of descriptors, searched for our connections: they are known by the name of the socket that has
 * accepted them, whatever state the memory is in that should know them. System calls alone, so that a child of a fork
 * in any thread may look as well as the fdholder.
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

/* The name the connections of `listener` have. Returns 0 or -errno. */
int table_name_of(int listener, struct table_name *ret_name);

/* Calls `found` with the number of each connection; it may close it. Ends when it returns false, or after so many
 * numbers without a file that no more are expected. 64 numbers are looked at in one system call. */
void table_search(const struct table_name *name, int gap_max, bool (*found)(void *context, int fd), void *context);

#endif
