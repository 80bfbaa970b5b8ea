/* What the machine lacks for a start: which limit was reached, and how much of it the runtime needs. */
#include "base/exits.h"
#include "base/limit.h"
#include "base/log.h"
#include "supervisor/state.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

int lack_report(const struct supervisor *supervisor, const char *what, int status)
{
    const char *name = NULL;
    uint64_t needed = 0;
    struct limit limit = {0};
    if (status == -EMFILE) {
        name = "NOFILE, ulimit -n";
        needed = descriptors_needed(supervisor);
        (void)limit_get(RLIMIT_NOFILE, &limit);
    } else if (status == -EAGAIN) { /* the supervisor; each worker and its fdholder */
        name = "NPROC, ulimit -u, or pids.max";
        needed =
            1 + 2 * (supervisor->options->workers + supervisor->options->spares + 1 + supervisor->options->preload);
        (void)limit_get(RLIMIT_NPROC, &limit);
    }
    if (name == NULL) {
        log_error(EVENT_START_FAILED, "%s: %s", what, strerror(-status));
        return EXIT_INTERNAL;
    }
    log_error(EVENT_START_FAILED, "%s: %s (RLIMIT_%s): %llu needed, the limit is %llu", what, strerror(-status), name,
              (unsigned long long)needed, (unsigned long long)limit.soft);
    return EXIT_LACK;
}
