#include "supervisor/remains.h"

#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define LOOK_INTERVAL (50 * CLOCK_MS)

static bool is_empty(pid_t group) { return kill(-group, 0) != 0 && errno == ESRCH; }

static void drop(struct remains *remains, uint32_t index)
{
    uint32_t behind = remains->count - index - 1;
    memmove(remains->groups + index, remains->groups + index + 1, behind * sizeof remains->groups[0]);
    remains->count--;
}

void remains_terminate(pid_t group)
{
    (void)kill(-group, SIGTERM);
    (void)kill(-group, SIGCONT); /* a stopped process handles SIGTERM only once it continues */
}

void remains_add(struct remains *remains, pid_t group, uint64_t kill_at)
{
    if (is_empty(group)) {
        return;
    }
    if (remains->count == REMAINS_MAX) {
        (void)kill(-remains->groups[0].number, SIGKILL);
        drop(remains, 0);
    }
    remains->groups[remains->count++] = (struct remains_group){.number = group, .kill_at = kill_at};
}

void remains_hurry(struct remains *remains)
{
    for (uint32_t i = 0; i < remains->count; i++) {
        remains->groups[i].kill_at = 0;
    }
}

void remains_forget(struct remains *remains, pid_t group)
{
    for (uint32_t i = 0; i < remains->count; i++) {
        if (remains->groups[i].number == group) {
            drop(remains, i);
            return;
        }
    }
}

uint64_t remains_tend(struct remains *remains, uint64_t now)
{
    uint64_t next = CLOCK_NEVER;
    for (uint32_t i = 0; i < remains->count;) {
        const struct remains_group *group = &remains->groups[i];
        if (is_empty(group->number)) {
            drop(remains, i);
        } else if (group->kill_at <= now) {
            (void)kill(-group->number, SIGKILL);
            drop(remains, i);
        } else {
            next = clock_earlier(next, clock_earlier(group->kill_at, clock_after(now, LOOK_INTERVAL)));
            i++;
        }
    }
    return next;
}
