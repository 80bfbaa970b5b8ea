#include "base/forked.h"

#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MARK = 0x5A, WIPE_ON_FORK = 18 /* MADV_WIPEONFORK, which older headers lack */ };

static pid_t parent;
static volatile unsigned char *mark; /* NULL: the kernel cannot do that */

void forked_begin(void)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    parent = getpid();
    mark = NULL;
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return;
    }
    if (syscall(SYS_madvise, page, size, (long)WIPE_ON_FORK) != 0) {
        (void)munmap(page, size);
        return;
    }
    mark = page;
    *mark = MARK;
}

bool forked_is_child(void) { return mark != NULL ? *mark != MARK : getpid() != parent; }
