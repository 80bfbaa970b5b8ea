#include "supervisor/metrics.h"

#include "base/clock.h"
#include "base/statm.h"
#include "server/cancel.h"
#include "server/control.h"
#include "supervisor/ledger.h"
#include "supervisor/page.h"
#include "supervisor/samples.h"
#include "supervisor/state.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* What is summed and looked up for one document. */
struct metrics {
    struct page page;
    struct supervisor *supervisor;
    uint64_t now;      /* clock_now() */
    uint64_t wall_now; /* ns since 1970 */
    struct tally sum;  /* of the ledger and all workers */
};

static const char *const protocol_names[TALLY_PROTOCOLS] = {"raw", "framed", "http"};

/* ---- sums ------------------------------------------------------------------------------------------------------- */

static uint64_t metrics_clock(clockid_t clock)
{
    struct timespec time;
    return clock_gettime(clock, &time) == 0 ? (uint64_t)time.tv_sec * CLOCK_SECOND + (uint64_t)time.tv_nsec : 0;
}

static bool metrics_is_alive(const struct worker *worker) { return worker->state != WORKER_DOWN; }

static void metrics_sum(struct metrics *metrics)
{
    const struct supervisor *supervisor = metrics->supervisor;
    memcpy(&metrics->sum, &ledger_read()->base, sizeof metrics->sum);
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        struct worker *worker = &supervisor->workers[i];
        if (metrics_is_alive(worker)) {
            (void)tally_take(&worker->board->tally, &worker->seen);
        }
        tally_merge(&metrics->sum, &worker->seen);
    }
}

/* A gauge that each living worker writes on its scoreboard; what cannot be was overwritten and counts as none. */
static uint64_t metrics_sum_gauge(const struct metrics *metrics, size_t offset)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < metrics->supervisor->worker_count; i++) {
        const struct worker *worker = &metrics->supervisor->workers[i];
        if (metrics_is_alive(worker)) {
            const _Atomic uint32_t *gauge = (const void *)((const char *)worker->board + offset);
            uint32_t value = atomic_load_explicit(gauge, memory_order_relaxed);
            sum += value <= SLOTS_MAX ? value : 0;
        }
    }
    return sum;
}

/* A moment of clock_now() as a timestamp; 0: never. */
static uint64_t metrics_wall(const struct metrics *metrics, uint64_t moment)
{
    if (moment == 0 || moment > metrics->now) {
        return moment == 0 ? 0 : metrics->wall_now;
    }
    return metrics->wall_now - (metrics->now - moment);
}

/* ---- the runtime ------------------------------------------------------------------------------------------------ */

static void metrics_write_build(struct page *page, const struct supervisor *supervisor)
{
    const char *python = supervisor->hooks->python != NULL ? supervisor->hooks->python : "";
    page_family(page, "asya_runtime_build_info", PAGE_GAUGE,
                "A constant 1; version of the runtime and of the interpreter it runs in.");
    page_sample(page, "asya_runtime_build_info", "");
    page_label(page, "version", view_of(ASYA_VERSION));
    page_label(page, "python_version", (struct view){python, strcspn(python, " ")});
    page_label(page, "python_implementation", view_of("CPython"));
    page_count(page, 1);
}

static void metrics_write_number(struct page *page, const char *name, enum page_type type, const char *help,
                                 uint64_t value)
{
    page_family(page, name, type, help);
    page_sample(page, name, "");
    page_count(page, value);
}

static void metrics_write_seconds(struct page *page, const char *name, enum page_type type, const char *help,
                                  uint64_t span)
{
    page_family(page, name, type, help);
    page_sample(page, name, "");
    page_seconds(page, span);
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

static const char *metrics_outcome(uint32_t category)
{
    return category == ERR_NONE ? "ok" : error_code((enum error_category)category);
}

static void metrics_write_requests(struct page *page, const struct tally *sum)
{
    page_family(page, "asya_runtime_requests_total", PAGE_COUNTER, "Requests by protocol and outcome.");
    for (uint32_t i = 0; i < TALLY_PROTOCOLS; i++) {
        for (uint32_t row = 0; row < sum->row_count; row++) {
            if (sum->counts.requests[i][row] > 0 || row == ERR_NONE) { /* a rate needs its beginning: 0 */
                page_sample(page, "asya_runtime_requests_total", "");
                page_label(page, "protocol", view_of(protocol_names[i]));
                page_label(page, "outcome", view_of(metrics_outcome(sum->rows[row].category)));
                page_label(page, "error_type", view_of(sum->rows[row].type));
                page_count(page, sum->counts.requests[i][row]);
            }
        }
    }
}

static void metrics_write_times(struct page *page, const char *name, const char *label, const char *value,
                                const struct tally_times *times)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < TALLY_BUCKETS; i++) {
        count += times->buckets[i];
        page_sample(page, name, "_bucket");
        page_label(page, label, view_of(value));
        page_bound(page, i < TALLY_BOUNDS ? tally_bounds[i] : CLOCK_NEVER);
        page_count(page, count);
    }
    page_sample(page, name, "_sum");
    page_label(page, label, view_of(value));
    page_seconds(page, times->sum);
    page_sample(page, name, "_count");
    page_label(page, label, view_of(value));
    page_count(page, count);
}

static bool metrics_has_times(const struct tally_times *times)
{
    uint64_t any = 0;
    for (uint32_t i = 0; i < TALLY_BUCKETS; i++) {
        any |= times->buckets[i];
    }
    return any != 0;
}

static void metrics_write_durations(struct page *page, const struct tally *sum)
{
    static const char *const stages[TALLY_STAGES] = {"read", "queue", "decode", "function", "encode", "write"};
    static const char name[] = "asya_runtime_request_duration_seconds";
    static const char stage_name[] = "asya_runtime_request_stage_duration_seconds";
    page_family(page, name, PAGE_HISTOGRAM, "From the first byte of a request to the last of its reply.");
    for (uint32_t i = 0; i < ERR_CATEGORIES; i++) {
        if (i == ERR_NONE || metrics_has_times(&sum->counts.durations[i])) {
            metrics_write_times(page, name, "outcome", metrics_outcome(i), &sum->counts.durations[i]);
        }
    }
    page_family(page, stage_name, PAGE_HISTOGRAM, "Parts of a request: read, queue, decode, function, encode, write.");
    for (uint32_t i = 0; i < TALLY_STAGES; i++) {
        metrics_write_times(page, stage_name, "stage", stages[i], &sum->counts.stages[i]);
    }
}

/* Messages that lie in the queue to the workers, each a connection. The kernel says how many bytes that is. */
static uint64_t metrics_count_handed_on(const struct supervisor *supervisor)
{
    int bytes = 0;
    if (syscall(SYS_ioctl, supervisor->queue_receive, FIONREAD, &bytes) != 0 || bytes < 0) {
        return 0;
    }
    return (uint64_t)bytes / sizeof(struct control_message);
}

/* clock_now() when the oldest request that runs was given to the function; 0: none runs. */
static uint64_t metrics_find_oldest(const struct metrics *metrics)
{
    uint64_t oldest = CLOCK_NEVER;
    for (uint32_t i = 0; i < metrics->supervisor->worker_count; i++) {
        const struct worker *worker = &metrics->supervisor->workers[i];
        for (uint32_t slot = 0; slot < SLOTS_MAX && metrics_is_alive(worker); slot++) {
            const struct scoreboard_slot *place = &worker->board->slots[slot];
            enum slot_state state = slot_state(place);
            uint64_t since = atomic_load_explicit(&place->since, memory_order_relaxed);
            bool is_running =
                state == SLOT_RUNNING || state == SLOT_STREAMING || state == SLOT_PUSHING || state == SLOT_ANSWERED;
            if (is_running && since >= worker->started_at && since <= metrics->now) {
                oldest = clock_earlier(oldest, since);
            }
        }
    }
    return oldest != CLOCK_NEVER ? oldest : 0;
}

static void metrics_write_now(struct metrics *metrics)
{
    struct page *page = &metrics->page;
    const struct supervisor *supervisor = metrics->supervisor;
    uint64_t queued = metrics_sum_gauge(metrics, offsetof(struct scoreboard, queued));
    metrics_write_number(page, "asya_runtime_requests_in_flight", PAGE_GAUGE, "Requests in the function now.",
                         metrics_sum_gauge(metrics, offsetof(struct scoreboard, running)));
    metrics_write_number(page, "asya_runtime_requests_waiting", PAGE_GAUGE,
                         "Requests accepted and not yet given to the function.",
                         queued + supervisor->orphans.count + metrics_count_handed_on(supervisor));
    metrics_write_seconds(page, "asya_runtime_oldest_request_start_timestamp_seconds", PAGE_GAUGE,
                          "When the oldest running request was given to the function; 0 if none runs.",
                          metrics_wall(metrics, metrics_find_oldest(metrics)));
    metrics_write_seconds(page, "asya_runtime_last_request_timestamp_seconds", PAGE_GAUGE,
                          "When the last request arrived.", metrics_wall(metrics, metrics->sum.last_request));
    metrics_write_seconds(page, "asya_runtime_last_error_timestamp_seconds", PAGE_GAUGE,
                          "When the last request failed.", metrics_wall(metrics, metrics->sum.last_error));
}

/* ---- workers ---------------------------------------------------------------------------------------------------- */

static void metrics_write_states(struct page *page, const struct supervisor *supervisor)
{
    static const char *const names[] = {"starting", "idle", "busy", "backoff", "spare"};
    uint64_t counts[5] = {0};
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        const struct worker *worker = &supervisor->workers[i];
        bool is_busy = atomic_load_explicit(&worker->board->running, memory_order_relaxed) > 0;
        if (worker->state == WORKER_STARTING) {
            counts[0]++;
        } else if (worker->state == WORKER_SPARE) {
            counts[4]++;
        } else if (worker->state != WORKER_DOWN) {
            counts[is_busy ? 2 : 1]++;
        } else if (!worker->vacant) {
            counts[3]++;
        }
    }
    page_family(page, "asya_runtime_workers", PAGE_GAUGE, "Workers by state.");
    for (uint32_t i = 0; i < (supervisor->options->spares > 0 ? 5 : 4); i++) {
        page_sample(page, "asya_runtime_workers", "");
        page_label(page, "state", view_of(names[i]));
        page_count(page, counts[i]);
    }
}

static void metrics_write_exit(struct page *page, enum ledger_exit ending, const char *signal, uint64_t count)
{
    page_sample(page, "asya_runtime_worker_exits_total", "");
    page_label(page, "cause", view_of(ledger_exit_name(ending)));
    page_label(page, "signal", view_of(signal));
    page_count(page, count);
}

static void metrics_write_exits(struct page *page, const struct ledger *ledger)
{
    page_family(page, "asya_runtime_worker_exits_total", PAGE_COUNTER, "Ends of workers by cause.");
    uint64_t unnamed = 0;
    for (int signal = 1; signal < LEDGER_SIGNALS; signal++) {
        const char *name = cause_signal_name(signal);
        if (strncmp(name, "SIG", 3) != 0) {
            unnamed += ledger->signals[signal];
        } else if (ledger->signals[signal] > 0) {
            metrics_write_exit(page, ENDED_SIGNAL, name, ledger->signals[signal]);
        }
    }
    if (unnamed > 0) {
        metrics_write_exit(page, ENDED_SIGNAL, "other", unnamed);
    }
    for (uint32_t i = ENDED_SIGNAL + 1; i < LEDGER_ENDS; i++) {
        metrics_write_exit(page, (enum ledger_exit)i, "", ledger->exits[i]);
    }
}

/* The clock of a process's processor time, for clock_gettime(2): the kernel's own encoding of its number. */
static clockid_t metrics_cpu_clock(pid_t pid) { return (clockid_t)((~(uint32_t)pid << 3) | 2); }

/* Never less than what was said before: wait4 rounds to microseconds. */
static uint64_t metrics_cpu(struct worker *worker)
{
    uint64_t used = worker->cpu + (metrics_is_alive(worker) ? metrics_clock(metrics_cpu_clock(worker->pid)) : 0);
    worker->cpu_shown = used > worker->cpu_shown ? used : worker->cpu_shown;
    return worker->cpu_shown;
}

static void metrics_label_worker(struct page *page, uint32_t index)
{
    char number[16];
    (void)snprintf(number, sizeof number, "%u", (unsigned)index);
    page_label(page, "worker", view_of(number));
}

static void metrics_write_resources(struct page *page, const struct supervisor *supervisor)
{
    static const char memory[] = "asya_runtime_worker_resident_memory_bytes";
    static const char cpu[] = "asya_runtime_worker_cpu_seconds_total";
    page_family(page, memory, PAGE_GAUGE, "Resident memory of a worker.");
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        const struct worker *worker = &supervisor->workers[i];
        if (metrics_is_alive(worker)) {
            page_sample(page, memory, "");
            metrics_label_worker(page, i);
            page_count(page, statm_read(worker->pid, STATM_RESIDENT));
        }
    }
    page_family(page, cpu, PAGE_COUNTER, "Processor time of the workers of this number, dead ones included.");
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        uint64_t used = metrics_cpu(&supervisor->workers[i]);
        if (used > 0) {
            page_sample(page, cpu, "");
            metrics_label_worker(page, i);
            page_seconds(page, used);
        }
    }
}

static void metrics_write_workers(struct page *page, const struct supervisor *supervisor, const struct ledger *ledger)
{
    static const char start[] = "asya_runtime_worker_start_duration_seconds";
    static const struct {
        enum cancel_reason reason;
        const char *name;
    } reasons[] = {{CANCEL_TIMEOUT, "timeout"}, {CANCEL_CLIENT_GONE, "client_gone"}, {CANCEL_STOPPING, "stopping"}};
    metrics_write_states(page, supervisor);
    metrics_write_exits(page, ledger);
    page_family(page, start, PAGE_HISTOGRAM, "Fork to ready: import and set-up of the function.");
    metrics_write_times(page, start, NULL, "", &ledger->starts);
    metrics_write_resources(page, supervisor);
    page_family(page, "asya_runtime_cancellations_total", PAGE_COUNTER, "Requests asked to stop, by reason.");
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        page_sample(page, "asya_runtime_cancellations_total", "");
        page_label(page, "reason", view_of(reasons[i].name));
        page_count(page, ledger->cancelled[reasons[i].reason]);
    }
}

/* ---- the document ----------------------------------------------------------------------------------------------- */

static void metrics_write_process(struct page *page, const struct supervisor *supervisor)
{
    metrics_write_seconds(page, "process_start_time_seconds", PAGE_GAUGE, "Start of the supervisor.",
                          supervisor->started_wall);
    metrics_write_number(page, "process_resident_memory_bytes", PAGE_GAUGE, "Resident memory of the supervisor.",
                         statm_read(0, STATM_RESIDENT));
    metrics_write_seconds(page, "process_cpu_seconds_total", PAGE_COUNTER, "Processor time of the supervisor.",
                          metrics_clock(CLOCK_PROCESS_CPUTIME_ID));
}

bool metrics_render(struct supervisor *supervisor, enum metrics_format format, struct buffer *out)
{
    static struct metrics metrics; /* too large for a stack frame */
    size_t before = out->size;
    struct page *page = &metrics.page;
    *page = (struct page){.out = out, .is_open = format == METRICS_OPEN};
    metrics.supervisor = supervisor;
    metrics.now = clock_now();
    metrics.wall_now = metrics_clock(CLOCK_REALTIME);
    metrics_sum(&metrics);
    const struct ledger *ledger = ledger_read();
    metrics_write_build(page, supervisor);
    metrics_write_number(page, "asya_runtime_ready", PAGE_GAUGE, "Whether messages are taken.",
                         state_is_ready(supervisor));
    metrics_write_requests(page, &metrics.sum);
    metrics_write_now(&metrics);
    metrics_write_durations(page, &metrics.sum);
    metrics_write_number(page, "asya_runtime_received_bytes_total", PAGE_COUNTER, "Bytes of requests.",
                         metrics.sum.counts.received);
    metrics_write_number(page, "asya_runtime_sent_bytes_total", PAGE_COUNTER, "Bytes of replies.",
                         metrics.sum.counts.sent);
    metrics_write_workers(page, supervisor, ledger);
    metrics_write_number(page, "asya_runtime_connections", PAGE_GAUGE, "Connections held open.",
                         metrics_sum_gauge(&metrics, offsetof(struct scoreboard, holding)) + supervisor->orphans.count);
    metrics_write_process(page, supervisor);
    if (supervisor->series != NULL) {
        samples_write(page, supervisor->series);
    }
    page_end(page);
    if (page->is_full) {
        out->size = before;
    }
    return !page->is_full;
}

const char *metrics_type(enum metrics_format format)
{
    return format == METRICS_OPEN ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                  : "text/plain; version=0.0.4; charset=utf-8";
}

/* Whether the text begins with `type`, which is lower case, in any case. */
static bool metrics_is_type(const char *at, const char *type)
{
    while (*type != '\0' && (*at | 0x20) == (*type | 0x20)) {
        at++;
        type++;
    }
    return *type == '\0';
}

/* The weight among a type's parameters: "q=0.75" is 750, none is 1000. */
static uint32_t metrics_quality(const char *at, const char *end)
{
    for (; at + 2 < end; at++) {
        if ((at[-1] == ';' || at[-1] == ' ') && (at[0] == 'q' || at[0] == 'Q') && at[1] == '=') {
            uint32_t quality = at[2] == '1' ? 1000 : 0;
            uint32_t unit = 100;
            for (at += 4; at < end && *at >= '0' && *at <= '9' && unit > 0; at++, unit /= 10) {
                quality += (uint32_t)(*at - '0') * unit;
            }
            return quality;
        }
    }
    return 1000;
}

/* The rank that `accept` gives a type (RFC 9110, section 12.5.1) in thousandths; 0: it is not named, or refused. */
static uint32_t metrics_rank(struct view accept, const char *type)
{
    const char *at = accept.data;
    const char *end = accept.data + accept.size;
    size_t size = strlen(type);
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma != NULL ? comma : end;
        while (at < stop && *at == ' ') {
            at++;
        }
        if ((size_t)(stop - at) >= size && metrics_is_type(at, type)) {
            return metrics_quality(at + size, stop);
        }
        at = stop + 1;
    }
    return 0;
}

enum metrics_format metrics_choose(struct view accept)
{
    uint32_t open = metrics_rank(accept, "application/openmetrics-text");
    return open > 0 && open >= metrics_rank(accept, "text/plain") ? METRICS_OPEN : METRICS_TEXT;
}

/* The value of a field in a request's head, up to the end of its line; empty if it is not there. */
static struct view metrics_find_field(struct view head, const char *name)
{
    const char *end = head.data + head.size;
    const char *line = head.data;
    size_t size = strlen(name);
    while (line < end) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop != NULL ? stop : end;
        if ((size_t)(stop - line) > size && metrics_is_type(line, name)) {
            return (struct view){line + size, (size_t)(stop - line) - size};
        }
        line = stop + 1;
    }
    return (struct view){"", 0};
}

bool metrics_answer(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply)
{
    enum metrics_format format = metrics_choose(metrics_find_field(request->head, "accept:"));
    reply->type = metrics_type(format);
    if (!metrics_render(supervisor, format, &reply->body)) {
        reply->status = 503;
    }
    return true;
}
