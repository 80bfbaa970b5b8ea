/*
 * How a count survives the death of its worker. tally_count() stores in this order, which tally_then() keeps the
 * compiler from changing:
 *
 *   entry                        which row, bucket and slot are about to be counted
 *   entry.number = total + 1     from here on the request counts
 *   counts.requests, then counts.durations, then slot.pending = 0
 *   total = entry.number
 *
 * A process that is killed has made all stores up to some instruction, and none after it. So after a death before the
 * second step, the supervisor counts the request by slot.pending. After a death between the second step and the last,
 * tally_settle() finds a number above `total` and makes the additions that are missing: those to a table whose sum
 * still equals `total`.
 */
#include "server/tally.h"

#include "base/text.h"

#include <string.h>

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

const uint64_t tally_bounds[TALLY_BOUNDS] = {
    100 * US, 250 * US, 500 * US,  1 * MS,    2500 * US, 5 * MS,     10 * MS,    25 * MS,    50 * MS,     100 * MS,
    250 * MS, 500 * MS, 1000 * MS, 2500 * MS, 5000 * MS, 10000 * MS, 30000 * MS, 60000 * MS, 120000 * MS, 300000 * MS};

enum {
    TRIES = 4,     /* to read a tally that is changing */
    IN_FLIGHT = 2, /* requests by which its sums may differ then: counted in one place and not yet in the other */
};

/* A process dies between two instructions: what the compiler has put first was done first. */
static inline void tally_then(void) { atomic_signal_fence(memory_order_seq_cst); }

static uint64_t tally_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void tally_reset(struct tally *tally)
{
    memset(tally, 0, sizeof *tally);
    tally->head = tally->end = TALLY_GUARD;
    tally->row_count = TALLY_FIXED;
    for (uint32_t i = 0; i < ERR_CATEGORIES; i++) {
        tally->rows[i].category = (uint8_t)i;
        tally->rows[ERR_CATEGORIES + i].category = (uint8_t)i;
        text_copy(tally->rows[ERR_CATEGORIES + i].type, TALLY_TYPE_SIZE, "other");
    }
}

uint32_t tally_row(struct tally *tally, enum error_category category, struct view type)
{
    char name[TALLY_TYPE_SIZE] = "";
    size_t size = text_cut(type.data, type.size, sizeof name - 1);
    memcpy(name, type.data, size);
    uint32_t known = (uint32_t)category < ERR_CATEGORIES ? (uint32_t)category : ERR_SERVER;
    if (size == 0) {
        return known;
    }
    uint32_t count = atomic_load_explicit(&tally->row_count, memory_order_relaxed);
    count = count < TALLY_ROWS ? count : TALLY_ROWS; /* the function may have written over it */
    for (uint32_t i = ERR_CATEGORIES; i < count; i++) {
        if (tally->rows[i].category == known && strncmp(tally->rows[i].type, name, TALLY_TYPE_SIZE) == 0) {
            return i;
        }
    }
    if (count == TALLY_ROWS) {
        return ERR_CATEGORIES + known;
    }
    tally->rows[count].category = (uint8_t)known;
    memcpy(tally->rows[count].type, name, sizeof name);
    atomic_store_explicit(&tally->row_count, count + 1, memory_order_release);
    return count;
}

static uint32_t tally_bucket(uint64_t span)
{
    uint32_t bucket = 0;
    while (bucket < TALLY_BOUNDS && span > tally_bounds[bucket]) {
        bucket++;
    }
    return bucket;
}

void tally_time(struct tally_times *times, uint64_t span)
{
    tally_add(&times->buckets[tally_bucket(span)], 1);
    tally_add(&times->sum, span);
}

/* From one moment to the next. Clock readings are shared, so one may be a little older than the one before it. */
static uint64_t tally_span(uint64_t from, uint64_t to) { return to > from ? to - from : 0; }

static void tally_count_stages(struct tally_times *stages, const struct tally_request *request, uint64_t now)
{
    uint64_t replied = request->replied != 0 ? request->replied : now;
    uint64_t started = request->started != 0 ? request->started : replied;
    uint64_t whole = request->whole != 0 ? request->whole : started;
    tally_time(&stages[TALLY_READ], tally_span(request->began, whole));
    if (request->started != 0) {
        tally_time(&stages[TALLY_QUEUE], tally_span(whole, started));
        tally_time(&stages[TALLY_DECODE], tally_span(started, request->called != 0 ? request->called : replied));
    }
    if (request->called != 0) {
        uint64_t returned = request->returned != 0 ? request->returned : replied;
        tally_time(&stages[TALLY_FUNCTION], tally_span(request->called, returned));
        tally_time(&stages[TALLY_ENCODE], tally_span(returned, replied));
    }
    tally_time(&stages[TALLY_WRITE], tally_span(replied, now));
}

static struct tally_times *tally_durations(struct tally *tally, uint32_t row)
{
    uint32_t category = tally->rows[row].category;
    return &tally->counts.durations[category < ERR_CATEGORIES ? category : ERR_SERVER];
}

void tally_count(struct tally *tally, enum protocol protocol, const struct tally_request *request, uint64_t now,
                 uint32_t slot, _Atomic uint8_t *pending)
{
    uint32_t row = request->pending - 1 < TALLY_ROWS ? request->pending - 1 : ERR_SERVER;
    uint32_t place = (uint32_t)protocol - PROTOCOL_RAW < TALLY_PROTOCOLS ? (uint32_t)protocol - PROTOCOL_RAW : 0;
    uint64_t span = tally_span(request->began, now);
    uint32_t bucket = tally_bucket(span);
    struct tally_times *durations = tally_durations(tally, row);
    uint64_t number = tally_get(&tally->total) + 1;
    tally->entry.slot = slot;
    tally->entry.row = (uint16_t)row;
    tally->entry.protocol = (uint8_t)place;
    tally->entry.bucket = (uint8_t)bucket;
    tally_then();
    atomic_store_explicit(&tally->entry.number, number, memory_order_relaxed); /* from here on it is counted */
    tally_then();
    tally_add(&tally->counts.requests[place][row], 1);
    tally_then();
    tally_add(&durations->buckets[bucket], 1);
    tally_add(&durations->sum, span);
    if (pending != NULL) {
        atomic_store_explicit(pending, 0, memory_order_relaxed);
    }
    if (tally->rows[row].category != ERR_NONE && now > tally_get(&tally->last_error)) {
        atomic_store_explicit(&tally->last_error, now, memory_order_relaxed);
    }
    tally_then();
    atomic_store_explicit(&tally->total, number, memory_order_relaxed);
    if (pending != NULL) {
        tally_count_stages(tally->counts.stages, request, now);
    }
}

static uint64_t tally_sum(const _Atomic uint64_t *counters, uint32_t count)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += tally_get(&counters[i]);
    }
    return sum;
}

static uint64_t tally_sum_requests(const struct tally *tally)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < TALLY_PROTOCOLS; i++) {
        sum += tally_sum(tally->counts.requests[i], TALLY_ROWS);
    }
    return sum;
}

static uint64_t tally_sum_durations(const struct tally *tally)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < ERR_CATEGORIES; i++) {
        sum += tally_sum(tally->counts.durations[i].buckets, TALLY_BUCKETS);
    }
    return sum;
}

uint32_t tally_settle(struct tally *tally)
{
    const struct tally_entry *entry = &tally->entry;
    uint64_t total = tally_get(&tally->total);
    if (tally_get(&entry->number) != total + 1 || entry->row >= TALLY_ROWS || entry->protocol >= TALLY_PROTOCOLS ||
        entry->bucket >= TALLY_BUCKETS) {
        return TALLY_NO_SLOT;
    }
    if (tally_sum_requests(tally) == total) {
        tally_add(&tally->counts.requests[entry->protocol][entry->row], 1);
    }
    if (tally_sum_durations(tally) == total) {
        tally_add(&tally_durations(tally, entry->row)->buckets[entry->bucket], 1);
    }
    atomic_store_explicit(&tally->total, total + 1, memory_order_relaxed);
    return entry->slot;
}

static bool tally_is_near(uint64_t sum, uint64_t total)
{
    return (sum > total ? sum - total : total - sum) <= IN_FLIGHT;
}

/* All of them as one array. */
static const _Atomic uint64_t *tally_counters(const struct tally *tally) { return (const void *)&tally->counts; }

/* Whether `copy` can be what became of `seen`. */
static bool tally_is_plausible(const struct tally *copy, const struct tally *seen)
{
    uint64_t total = tally_get(&copy->total);
    if (copy->head != TALLY_GUARD || copy->end != TALLY_GUARD || copy->row_count < TALLY_FIXED ||
        copy->row_count > TALLY_ROWS || total < tally_get(&seen->total) ||
        !tally_is_near(tally_sum_requests(copy), total) || !tally_is_near(tally_sum_durations(copy), total)) {
        return false;
    }
    const _Atomic uint64_t *now = tally_counters(copy);
    const _Atomic uint64_t *before = tally_counters(seen);
    for (uint32_t i = 0; i < TALLY_COUNTS; i++) {
        if (tally_get(&now[i]) < tally_get(&before[i])) {
            return false;
        }
    }
    return true;
}

bool tally_take(const struct tally *tally, struct tally *seen)
{
    static struct tally copy; /* too large for a stack frame */
    for (int i = 0; i < TRIES; i++) {
        memcpy(&copy, tally, sizeof copy);
        if (tally_is_plausible(&copy, seen)) {
            memcpy(seen, &copy, sizeof copy);
            for (uint32_t row = 0; row < TALLY_ROWS; row++) {
                seen->rows[row].type[TALLY_TYPE_SIZE - 1] = '\0';
            }
            return true;
        }
    }
    return false;
}

/* Rows have other numbers in another tally. */
static void tally_merge_requests(struct tally *into, const struct tally *from)
{
    for (uint32_t row = 0; row < from->row_count && row < TALLY_ROWS; row++) {
        uint64_t sum = 0;
        for (uint32_t i = 0; i < TALLY_PROTOCOLS; i++) {
            sum += tally_get(&from->counts.requests[i][row]);
        }
        const struct tally_row *known = &from->rows[row];
        uint32_t target = sum > 0 ? tally_row(into, (enum error_category)known->category, view_of(known->type)) : 0;
        for (uint32_t i = 0; sum > 0 && i < TALLY_PROTOCOLS; i++) {
            tally_add(&into->counts.requests[i][target], tally_get(&from->counts.requests[i][row]));
        }
    }
}

static void tally_merge_times(struct tally_times *into, const struct tally_times *from)
{
    for (uint32_t i = 0; i < TALLY_BUCKETS; i++) {
        tally_add(&into->buckets[i], tally_get(&from->buckets[i]));
    }
    tally_add(&into->sum, tally_get(&from->sum));
}

static void tally_merge_latest(_Atomic uint64_t *into, const _Atomic uint64_t *from)
{
    if (tally_get(from) > tally_get(into)) {
        atomic_store_explicit(into, tally_get(from), memory_order_relaxed);
    }
}

void tally_merge(struct tally *into, const struct tally *from)
{
    tally_merge_requests(into, from);
    tally_add(&into->counts.received, tally_get(&from->counts.received));
    tally_add(&into->counts.sent, tally_get(&from->counts.sent));
    for (uint32_t i = 0; i < ERR_CATEGORIES; i++) {
        tally_merge_times(&into->counts.durations[i], &from->counts.durations[i]);
    }
    for (uint32_t i = 0; i < TALLY_STAGES; i++) {
        tally_merge_times(&into->counts.stages[i], &from->counts.stages[i]);
    }
    tally_merge_latest(&into->last_request, &from->last_request);
    tally_merge_latest(&into->last_error, &from->last_error);
    tally_add(&into->total, tally_get(&from->total));
}
