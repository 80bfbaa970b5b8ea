#include "verdict.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { SHOWN_MAX = 20, NOTES_MAX = 1 << 16 };

static const char *const names[VERDICTS] = {"ok",        "errors", "cut",       "disconnected", "lost", "duplicated",
                                            "mispaired", "wrong",  "truncated", "reset",        "late"};

/* How each cause is told: in bare JSON, and in the two other forms. */
static const char *const told[CAUSES][2] = {
    [CAUSE_CRASHED] = {"\"type\":\"WorkerCrashed\"", "\"type\":\"WorkerCrashed\""},
    [CAUSE_EXITED] = {"\"type\":\"WorkerExited\"", "\"type\":\"WorkerExited\""},
    [CAUSE_TIMEOUT] = {"\"type\":\"HandlerTimeout\"", "\"type\":\"HandlerTimeout\""},
    [CAUSE_MEMORY] = {"\"error\":\"out_of_memory\"", "\"type\":\"MemoryError\""},
    [CAUSE_SERVER] = {"\"error\":\"server_error\"", "\"type\":\"RuntimeError\""},
};

static _Atomic uint64_t counts[VERDICTS];
static _Atomic uint64_t causes[CAUSES];
static _Atomic uint64_t unsolicited;
static _Atomic uint64_t reconnected;
static _Atomic uint64_t resent;
static _Atomic uint64_t slowest_us;
static _Atomic unsigned shown;

/* When something happened, and to which worker's reply; 0: not known. */
struct notes {
    _Atomic unsigned count;
    struct {
        int worker;
        long long when_ms; /* of the clock the runtime's log goes by */
    } made[NOTES_MAX];
};
static struct notes cuts;
static struct notes losses;

/* How many JSON objects stand one after the other, brackets not counted; -1 if the last is not complete or something
 * else is there. */
static int count_objects(const char *text)
{
    int depth = 0;
    int objects = 0;
    bool in_string = false;
    for (; *text != '\0'; text++) {
        if (in_string) {
            text += *text == '\\' && text[1] != '\0';
            in_string = *text != '"';
        } else if (*text == '"') {
            in_string = true;
        } else if (*text == '{') {
            depth++;
        } else if (*text == '}') {
            objects += --depth == 0;
        } else if (depth == 0 && *text != '[' && *text != ']') {
            return -1;
        }
    }
    return depth == 0 ? objects : -1;
}

static bool begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

static bool may_follow(const struct order *order, enum cause cause, bool shared)
{
    switch (cause) {
    case CAUSE_CRASHED: /* the killer strikes whom he likes */
    case CAUSE_TIMEOUT: /* ... or halts him */
    case CAUSE_SERVER:
        return true;
    case CAUSE_EXITED:
    case CAUSE_MEMORY:
        return shared || (order->deed != NULL && order->deed->cause == cause);
    default:
        return false;
    }
}

enum verdict verdict_of_other(const struct order *order, enum form form, const char *reply, size_t size, bool shared)
{
    if (size == 0) {
        return VERDICT_LOST;
    }
    int objects = count_objects(reply);
    if (objects != 1) {
        return objects > 1 ? VERDICT_DUPLICATED : VERDICT_TRUNCATED;
    }
    if (order->is_health && strcmp(reply, "{\"status\":\"not ready\"}") == 0) {
        causes[CAUSE_NONE]++;
        return VERDICT_ERROR;
    }
    if (!begins(reply, form == FORM_FRAMED ? "[{\"error\":" : "{\"error\":")) {
        return strstr(reply, "\"number\":") != NULL ? VERDICT_MISPAIRED : VERDICT_WRONG;
    }
    for (int cause = CAUSE_NONE + 1; cause < CAUSES; cause++) {
        if (strstr(reply, told[cause][form != FORM_RAW]) != NULL && may_follow(order, (enum cause)cause, shared)) {
            causes[cause]++;
            return VERDICT_ERROR;
        }
    }
    return VERDICT_WRONG;
}

enum verdict verdict_of(const struct order *order, enum form form, const char *reply, size_t size, bool shared)
{
    static _Thread_local char own[ORDER_ROOM];
    size_t expected = order_reply(order, form, own);
    if (size == expected && memcmp(reply, own, size) == 0) {
        return VERDICT_OK;
    }
    if (order_may_be_cut(order) && size > 0 && size < expected && memcmp(reply, own, size) == 0) {
        return VERDICT_CUT;
    }
    return verdict_of_other(order, form, reply, size, shared);
}

static long long wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void note(struct notes *notes, int worker)
{
    unsigned index = atomic_fetch_add(&notes->count, 1);
    if (index < NOTES_MAX) {
        notes->made[index].worker = worker;
        notes->made[index].when_ms = wall_ms();
    }
}

static void print_notes(const char *name, const struct notes *notes)
{
    printf(",\"%s\":[", name);
    for (unsigned i = 0; i < notes->count && i < NOTES_MAX; i++) {
        printf("%s[%d,%lld]", i > 0 ? "," : "", notes->made[i].worker, notes->made[i].when_ms);
    }
    printf("]");
}

void verdict_count(enum verdict verdict, const struct order *order, const char *way, const char *reply,
                   const char *reason)
{
    counts[verdict]++;
    if (verdict == VERDICT_CUT && order->events == 0) {
        verdict_cut_by(0);
    }
    if (verdict == VERDICT_LOST) {
        note(&losses, 0);
    }
    bool is_bad = verdict > VERDICT_DISCONNECTED && verdict < VERDICTS;
    if (is_bad && atomic_fetch_add(&shown, 1) < SHOWN_MAX) {
        (void)fprintf(stderr, "asya-chaos: %lld %s: number %llu (%s%s, %s) -> %.400s (%s)\n", wall_ms(), names[verdict],
                      (unsigned long long)order->number, order->is_health ? "health" : order->name,
                      order->events > 0 ? ", stream" : "", way, reply, reason);
    }
}

void verdict_unsolicited(const char *way, const char *bytes, const char *reason)
{
    unsolicited++;
    if (atomic_fetch_add(&shown, 1) < SHOWN_MAX) {
        (void)fprintf(stderr, "asya-chaos: %lld unsolicited (%s): %.400s (%s)\n", wall_ms(), way, bytes, reason);
    }
}

void verdict_sent_again(bool was_closed) { (void)atomic_fetch_add(was_closed ? &reconnected : &resent, 1); }

void verdict_cut_by(int worker) { note(&cuts, worker); }

uint64_t verdict_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void verdict_time(uint64_t begun)
{
    uint64_t us = verdict_now_us() - begun;
    uint64_t slowest = slowest_us;
    while (us > slowest && !atomic_compare_exchange_weak(&slowest_us, &slowest, us)) {
    }
}

uint64_t verdict_print(void)
{
    uint64_t bad = unsolicited;
    for (int i = 0; i < VERDICTS; i++) {
        printf(",\"%s\":%llu", names[i], (unsigned long long)counts[i]);
        bad += i > VERDICT_DISCONNECTED ? counts[i] : 0;
    }
    printf(",\"unsolicited\":%llu,\"reconnected\":%llu,\"resent\":%llu,\"slowest_ms\":%.1f,\"error_causes\":{",
           (unsigned long long)unsolicited, (unsigned long long)reconnected, (unsigned long long)resent,
           (double)slowest_us / 1e3);
    for (int i = 0; i < CAUSES; i++) {
        printf("%s\"%s\":%llu", i > 0 ? "," : "", i > 0 ? cause_names[i] : "not_ready", (unsigned long long)causes[i]);
    }
    printf("}");
    print_notes("cut_by", &cuts);
    print_notes("lost_by", &losses);
    return bad;
}
