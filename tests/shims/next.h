/* The next library's syscall(), for shims that stand before libc's wrappers and before its syscall(). */
#ifndef ASYA_SHIMS_NEXT_H
#define ASYA_SHIMS_NEXT_H

#include <dlfcn.h>
#include <stdarg.h>
#include <string.h>

/* The syscall() behind this library. */
static inline long (*next_syscall(void))(long, ...)
{
    static long (*found)(long, ...);
    if (found == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "syscall");
        memcpy(&found, &symbol, sizeof found);
    }
    return found;
}

/* What a variadic syscall() was given: as many numbers as any call takes. */
struct arguments {
    long given[6];
};

static inline struct arguments arguments_take(va_list list)
{
    struct arguments arguments;
    for (int i = 0; i < 6; i++) {
        arguments.given[i] = va_arg(list, long);
    }
    return arguments;
}

static inline long next_call(long number, const struct arguments *arguments)
{
    const long *given = arguments->given;
    return next_syscall()(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}

#endif
