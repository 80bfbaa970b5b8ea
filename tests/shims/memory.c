/*
 * Allocations of the runtime's own code, of all its processes in the order they come, fail as the file SHIM_MEMORY
 * names says; those of the interpreter and its libraries do not. The file is shared memory: a test changes it while the
 * runtime works, and reads from it how many there were.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct orders {
    _Atomic uint64_t fail_at;  /* the first to fail, counted from 1; 0: none */
    _Atomic uint64_t for_ever; /* not 0: all behind it too */
    _Atomic uint64_t requested;
    _Atomic uint64_t failed;
} * orders;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);

__attribute__((constructor)) static void map(void)
{
    const char *path = getenv("SHIM_MEMORY");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *page = mmap(NULL, sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) { /* or the test would show nothing */
        abort();
    }
    orders = page;
    (void)close(fd);
}

/* The runtime is the one object that is loaded from a descriptor. */
static bool is_ours(void *caller)
{
    struct dl_find_object found;
    return _dl_find_object(caller, &found) == 0 &&
           strncmp(found.dlfo_link_map->l_name, "/proc/self/", strlen("/proc/self/")) == 0;
}

static bool fails(void *caller)
{
    if (orders == NULL || !is_ours(caller)) {
        return false;
    }
    uint64_t number = atomic_fetch_add(&orders->requested, 1) + 1;
    uint64_t fail_at = atomic_load(&orders->fail_at);
    bool failed = fail_at != 0 && (number == fail_at || (number > fail_at && atomic_load(&orders->for_ever) != 0));
    atomic_fetch_add(&orders->failed, failed);
    return failed;
}

void *malloc(size_t size) { return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size); }

void *calloc(size_t count, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(block, size);
}
