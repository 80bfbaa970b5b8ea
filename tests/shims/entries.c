/*
 * Which functions are entered and left, for tools/count_entries.py: what -finstrument-functions calls. The file that
 * SHIM_ENTRIES names holds the number of records and then the records, of all processes in one order. Once it is full
 * nothing more is written; the tool sees that by the number.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct record {
    uint64_t function;
    uint32_t process;
    uint32_t thread; /* its lowest bit shifted in: 1 where the function is entered, 0 where it is left */
};

static struct {
    _Atomic uint64_t count;
    struct record records[];
} * page;
static uint64_t room;

__attribute__((constructor)) static void map(void)
{
    const char *path = getenv("SHIM_ENTRIES");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    struct stat about;
    if (fd < 0 || fstat(fd, &about) != 0) { /* or the tool would count nothing */
        abort();
    }
    void *mapped = mmap(NULL, (size_t)about.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        abort();
    }
    page = mapped;
    room = ((uint64_t)about.st_size - sizeof *page) / sizeof page->records[0];
    (void)close(fd);
}

static void note(void *function, uint32_t entered)
{
    uint64_t at = page != NULL ? atomic_fetch_add(&page->count, 1) : UINT64_MAX;
    if (at < room) {
        page->records[at] = (struct record){.function = (uint64_t)(uintptr_t)function,
                                            .process = (uint32_t)syscall(SYS_getpid),
                                            .thread = (uint32_t)syscall(SYS_gettid) << 1 | entered};
    }
}

void __cyg_profile_func_enter(void *function, void *caller);
void __cyg_profile_func_exit(void *function, void *caller);

void __cyg_profile_func_enter(void *function, void *caller)
{
    (void)caller;
    note(function, 1);
}

void __cyg_profile_func_exit(void *function, void *caller)
{
    (void)caller;
    note(function, 0);
}
