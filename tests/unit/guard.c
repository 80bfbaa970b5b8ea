#include "guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void die(const char *what)
{
    perror(what);
    abort();
}

struct guard guard_make(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t usable = (size / page + 1) * page;
    unsigned char *map = mmap(NULL, usable + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        die("guard: mmap");
    }
    if (mprotect(map + usable, page, PROT_NONE) != 0) {
        die("guard: mprotect");
    }
    return (struct guard){.data = map + usable - size, .size = size, .map = map, .map_size = usable + page};
}

struct guard guard_copy(const void *bytes, size_t size)
{
    struct guard guard = guard_make(size);
    if (size > 0) {
        memcpy(guard.data, bytes, size);
    }
    return guard;
}

unsigned char *guard_tail(const struct guard *guard, size_t size) { return guard->data + guard->size - size; }

void guard_free(struct guard *guard)
{
    munmap(guard->map, guard->map_size);
    *guard = (struct guard){0};
}
