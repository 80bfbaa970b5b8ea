/* For callgrind (bench/instructions.py): each run takes the same instructions. What is drawn at random, the seed of the cache of
 * keys, is a constant. And what valgrind cannot emulate and would end the process for, a clone() that shares the descriptors
 * alone, is refused as by qemu-user: the worker serves without an fdholder. */
#include "next.h"

#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

long syscall(long number, ...)
{
    va_list list;
    va_start(list, number);
    struct arguments arguments = arguments_take(list);
    va_end(list);
    if (number == SYS_clone && (arguments.given[0] & CLONE_FILES) != 0) {
        errno = EINVAL;
        return -1;
    }
    if (number == SYS_getrandom) {
        void *bytes;
        memcpy(&bytes, &arguments.given[0], sizeof bytes);
        memset(bytes, 7, (size_t)arguments.given[1]);
        return arguments.given[1];
    }
    return next_call(number, &arguments);
}
