/* A system that takes limits and does not enforce them, as gVisor and Linux before 4.7 do with RLIMIT_DATA: setrlimit()
 * of what SHIM_LIMITS names ("data", "data as") has no effect. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
    const char *ignored = getenv("SHIM_LIMITS");
    const char *name = resource == RLIMIT_DATA ? "data" : resource == RLIMIT_AS ? "as" : NULL;
    if (ignored == NULL) { /* or the test would show nothing */
        abort();
    }
    if (name != NULL && strstr(ignored, name) != NULL) {
        return 0;
    }
    return (int)syscall(SYS_prlimit64, 0, resource, limit, NULL);
}
