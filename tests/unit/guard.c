#include "guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)   ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

/* Mappings that were given back, by the number of their usable pages less one: some tests make a million small guards,
 * and three system calls for each took nine tenths of their time. Whoever uses one after guard_free() is told by ASan.
 */
enum { KEPT_PAGES = 4, KEPT_EACH = 4 };
static void *kept[KEPT_PAGES][KEPT_EACH];
static size_t kept_count[KEPT_PAGES];

static void die(const char *what)
{
    perror(what);
    abort();
}

static size_t page_size(void)
{
    static size_t page;
    return page > 0 ? page : (page = (size_t)sysconf(_SC_PAGESIZE));
}

static unsigned char *map_new(size_t usable)
{
    unsigned char *map = mmap(NULL, usable + page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        die("guard: mmap");
    }
    if (mprotect(map + usable, page_size(), PROT_NONE) != 0) {
        die("guard: mprotect");
    }
    return map;
}

struct guard guard_make(size_t size)
{
    size_t more = size / page_size(), usable = (more + 1) * page_size();
    unsigned char *map;
    if (more < KEPT_PAGES && kept_count[more] > 0) {
        map = kept[more][--kept_count[more]];
        ASAN_UNPOISON_MEMORY_REGION(map, usable);
        memset(map + usable - size, 0, size);
    } else {
        map = map_new(usable);
    }
    return (struct guard){.data = map + usable - size, .size = size, .map = map, .map_size = usable + page_size()};
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
    if (guard->map == NULL) {
        return;
    }
    size_t usable = guard->map_size - page_size(), more = usable / page_size() - 1;
    if (more < KEPT_PAGES && kept_count[more] < KEPT_EACH) {
        ASAN_POISON_MEMORY_REGION(guard->map, usable);
        kept[more][kept_count[more]++] = guard->map;
    } else {
        munmap(guard->map, guard->map_size);
    }
    *guard = (struct guard){0};
}
