/*
 * What the runtime says of itself on the control socket: GET /status, and what probes ask (docs/operating.md).
 *
 * Everything that comes from a scoreboard may have been written by the function: states are checked, times are bounded
 * by now, and texts are bounded here and escaped by the writer. Nothing of a payload is on it. The document is written
 * into memory that is freed once it is sent; without memory the answer is 503.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/procstat.h"
#include "base/statm.h"
#include "base/timestamp.h"
#include "supervisor/running.h"
#include "supervisor/state.h"
#include "json/writer.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    STATUS_RUNNING_MAX = 256, /* requests that are listed; the rest is counted */
    STATUS_REASON_SIZE = 256,
};

/* Clients are to be answered within 20 ms, and the kernel needs 0.2 ms to find the share of a small process and 5 ms
 * for a GiB (procstat_pss): so the search is bounded, by the size of each and the time for all. */
#define STATUS_PSS_MOST (UINT64_C(1) << 30)
#define STATUS_PSS_TIME (6 * CLOCK_MS)

struct status {
    struct writer writer;
    uint64_t now;      /* clock_now() */
    uint64_t wall_now; /* nanoseconds since 1970 */
};

/* ---- members ---------------------------------------------------------------------------------------------------- */

static void status_text(struct status *status, const char *key, const char *text)
{
    writer_key(&status->writer, key);
    writer_text(&status->writer, view_of(text));
}

static void status_token(struct status *status, const char *key, const char *token)
{
    writer_key(&status->writer, key);
    writer_token(&status->writer, token);
}

static void status_truth(struct status *status, const char *key, bool value)
{
    status_token(status, key, value ? "true" : "false");
}

static void status_number(struct status *status, const char *key, uint64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    status_token(status, key, text);
}

/* Bytes; null where they are not known. */
static void status_bytes(struct status *status, const char *key, uint64_t bytes)
{
    if (bytes > 0) {
        status_number(status, key, bytes);
    } else {
        status_token(status, key, "null");
    }
}

/* Nanoseconds as seconds, to the millisecond. */
static void status_seconds(struct status *status, const char *key, uint64_t span)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%llu.%03u", (unsigned long long)(span / CLOCK_SECOND),
                   (unsigned)(span % CLOCK_SECOND / CLOCK_MS));
    status_token(status, key, text);
}

/* A moment of clock_now() as a date, and how long ago that is. */
static void status_since(struct status *status, const char *key, const char *key_of_span, uint64_t since)
{
    char text[TIMESTAMP_SIZE];
    uint64_t span = since < status->now ? status->now - since : 0;
    timestamp_write(status->wall_now > span ? status->wall_now - span : 0, text);
    status_text(status, key, text);
    status_seconds(status, key_of_span, span);
}

/* ---- the runtime ------------------------------------------------------------------------------------------------ */

static const char *status_condition_name(enum condition condition)
{
    static const char *const names[] = {
        [CONDITION_LOADING] = "loading",     [CONDITION_READY] = "ready",      [CONDITION_DRAINING] = "draining",
        [CONDITION_CRASHING] = "crash_loop", [CONDITION_UNWELL] = "unhealthy", [CONDITION_STOPPING] = "stopping"};
    return names[condition];
}

static void status_health_reason(const struct supervisor *supervisor, char text[STATUS_REASON_SIZE])
{
    char how[HEALTH_TEXT_SIZE];
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        const struct worker *worker = &supervisor->workers[i];
        if (worker->unwell && health_fails(worker, supervisor->options->healthcheck_timeout, clock_now(), how)) {
            (void)snprintf(text, STATUS_REASON_SIZE, "the health check of worker %u %s", worker->index, how);
            return;
        }
    }
}

static void status_reason(const struct supervisor *supervisor, char text[STATUS_REASON_SIZE])
{
    const char *death = supervisor->last_death;
    text[0] = '\0';
    switch (state_condition(supervisor)) {
    case CONDITION_LOADING:
        (void)snprintf(text, STATUS_REASON_SIZE,
                       death[0] != '\0' ? "a worker loads %.120s; the last one %s" : "a worker loads %.120s",
                       state_function(supervisor), death);
        return;
    case CONDITION_CRASHING:
        (void)snprintf(text, STATUS_REASON_SIZE, "%u deaths in a row, the last one %s", supervisor->deaths, death);
        return;
    case CONDITION_STOPPING:
        (void)snprintf(text, STATUS_REASON_SIZE, "%s", supervisor->stop_reason);
        return;
    case CONDITION_UNWELL:
        status_health_reason(supervisor, text);
        return;
    case CONDITION_DRAINING:
        (void)snprintf(text, STATUS_REASON_SIZE, "POST /drain; undo with POST /undrain");
        return;
    case CONDITION_READY:
        if (supervisor->all_busy) {
            (void)snprintf(text, STATUS_REASON_SIZE, "every worker is busy");
        }
        return;
    }
}

static void status_write_condition(struct status *status, const struct supervisor *supervisor)
{
    char reason[STATUS_REASON_SIZE];
    status_reason(supervisor, reason);
    status_text(status, "state", status_condition_name(supervisor->condition));
    status_text(status, "reason", reason);
    status_since(status, "since", "seconds", supervisor->condition_since);
    status_truth(status, "ready", state_is_ready(supervisor));
    status_truth(status, "draining", supervisor->is_draining);
}

static const char *status_machine(void)
{
#ifdef __aarch64__
    return "aarch64";
#else
    return "x86_64";
#endif
}

static void status_write_program(struct status *status, const struct supervisor *supervisor)
{
    status_text(status, "version", ASYA_VERSION);
    writer_key(&status->writer, "build");
    writer_open(&status->writer, '{');
    status_text(status, "machine", status_machine());
    status_text(status, "compiler", __VERSION__);
    writer_close(&status->writer, '}');
    status_text(status, "python", supervisor->hooks->python != NULL ? supervisor->hooks->python : "");
    status_number(status, "pid", (uint64_t)getpid());
    status_since(status, "started", "uptime_seconds", supervisor->started_at);
    status_text(status, "function", state_function(supervisor));
}

static void status_write_settings(struct status *status, const struct supervisor *supervisor)
{
    struct option_value value;
    writer_key(&status->writer, "settings");
    writer_open(&status->writer, '{');
    for (size_t i = 0; options_value(supervisor->options, i, &value); i++) {
        writer_key(&status->writer, value.name);
        writer_open(&status->writer, '{');
        if (strcmp(value.name, "ASYA_LOG_LEVEL") == 0) {
            status_text(status, "value", options_level_name(log_level())); /* POST /log-level may have changed it */
        } else if (value.form == OPTION_TEXT) {
            status_text(status, "value", value.text != NULL ? value.text : "");
        } else if (value.form == OPTION_TOKEN) {
            status_token(status, "value", value.text);
        }
        status_truth(status, "set", value.is_set);
        writer_close(&status->writer, '}');
    }
    writer_close(&status->writer, '}');
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

/* Where a request is; NULL: the slot has none that the function was called for. */
static const char *status_stage(enum slot_state state)
{
    switch (state) {
    case SLOT_RUNNING:
        return "function";
    case SLOT_STREAMING:
    case SLOT_PUSHING:
        return "stream";
    case SLOT_REPLYING:
        return "reply";
    case SLOT_ANSWERED:
        return "answered"; /* its client has its reply, and the function goes on */
    default:
        return NULL;
    }
}

static const char *status_protocol(const struct scoreboard_slot *slot)
{
    static const char *const names[] = {"", "raw", "framed", "http"};
    uint16_t protocol = atomic_load_explicit(&slot->protocol, memory_order_relaxed);
    return protocol <= PROTOCOL_HTTP ? names[protocol] : "";
}

static void status_write_request(struct status *status, const struct worker *worker, uint32_t index, const char *stage)
{
    const struct scoreboard_slot *slot = &worker->board->slots[index];
    char id[SCOREBOARD_ID_MAX + 1];
    char trace[SCOREBOARD_TRACE_SIZE + 1];
    running_name(worker->board, index, id);
    running_trace(worker->board, index, trace);
    writer_open(&status->writer, '{');
    status_text(status, "id", id);
    status_text(status, "traceparent", trace);
    status_since(status, "since", "seconds", atomic_load_explicit(&slot->since, memory_order_relaxed));
    status_text(status, "stage", stage);
    status_number(status, "worker", worker->index);
    status_text(status, "protocol", status_protocol(slot));
    writer_close(&status->writer, '}');
}

static void status_write_running(struct status *status, const struct supervisor *supervisor)
{
    uint64_t count = 0;
    writer_key(&status->writer, "running");
    writer_open(&status->writer, '[');
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        const struct worker *worker = &supervisor->workers[i];
        for (uint32_t slot = 0; slot < SLOTS_MAX && worker->pid > 0; slot++) {
            const char *stage = status_stage(slot_state(&worker->board->slots[slot]));
            if (stage != NULL && count++ < STATUS_RUNNING_MAX) {
                status_write_request(status, worker, slot, stage);
            }
        }
    }
    writer_close(&status->writer, ']');
    status_number(status, "running_count", count);
}

/* Connections that have sent nothing, or not all, count as waiting, too: nobody has looked at what is in them. */
static void status_write_waiting(struct status *status, const struct supervisor *supervisor)
{
    uint64_t held = 0;
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        const struct worker *worker = &supervisor->workers[i];
        uint32_t holding = atomic_load_explicit(&worker->board->holding, memory_order_relaxed);
        uint32_t running = atomic_load_explicit(&worker->board->running, memory_order_relaxed);
        held += worker->pid > 0 && holding > running ? holding - running : 0;
    }
    writer_key(&status->writer, "waiting");
    writer_open(&status->writer, '{');
    status_number(status, "with_workers", held);
    status_number(status, "with_supervisor", supervisor->orphans.count);
    writer_close(&status->writer, '}');
}

/* ---- workers ---------------------------------------------------------------------------------------------------- */

static const char *status_worker_state(const struct worker *worker)
{
    switch (worker->state) {
    case WORKER_DOWN:
        return "backoff";
    case WORKER_STARTING:
        return "starting";
    case WORKER_SPARE:
        return "spare";
    case WORKER_STOPPING:
        return "retiring";
    default:
        return atomic_load_explicit(&worker->board->running, memory_order_relaxed) > 0 ? "busy" : "idle";
    }
}

static void status_write_ends(struct status *status, const struct worker *worker)
{
    writer_key(&status->writer, "exits");
    writer_open(&status->writer, '{');
    for (unsigned i = 0; i < LEDGER_ENDS; i++) {
        status_number(status, ledger_exit_name((enum ledger_exit)i), worker->ends[i]);
    }
    writer_close(&status->writer, '}');
}

static void status_write_process(struct status *status, const struct worker *worker)
{
    uint64_t resident = statm_read(worker->pid, STATM_RESIDENT);
    bool has_time = resident <= STATUS_PSS_MOST && clock_now() < clock_after(status->now, STATUS_PSS_TIME);
    status_number(status, "pid", (uint64_t)worker->pid);
    status_number(status, "requests", atomic_load_explicit(&worker->board->requests, memory_order_relaxed));
    status_number(status, "running", atomic_load_explicit(&worker->board->running, memory_order_relaxed));
    status_number(status, "connections", atomic_load_explicit(&worker->board->holding, memory_order_relaxed));
    status_bytes(status, "rss_bytes", resident);
    status_bytes(status, "pss_bytes", has_time ? procstat_pss(worker->pid) : 0);
    status_seconds(status, "cpu_seconds", procstat_cpu(worker->pid));
    status_since(status, "started", "uptime_seconds", worker->started_at);
}

static void status_write_workers(struct status *status, const struct supervisor *supervisor)
{
    writer_key(&status->writer, "workers");
    writer_open(&status->writer, '[');
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        const struct worker *worker = &supervisor->workers[i];
        if (worker->state == WORKER_DOWN && worker->vacant) {
            continue; /* kept for a replacement */
        }
        writer_open(&status->writer, '{');
        status_number(status, "worker", worker->index);
        status_text(status, "state", status_worker_state(worker));
        if (worker->pid > 0) {
            status_write_process(status, worker);
        }
        status_write_ends(status, worker);
        writer_close(&status->writer, '}');
    }
    writer_close(&status->writer, ']');
}

/* ASYA_PRELOAD. "refused": the function cannot be forked. */
static void status_write_template(struct status *status, const struct worker *template)
{
    writer_key(&status->writer, "template");
    if (template == NULL) {
        writer_token(&status->writer, "null");
        return;
    }
    writer_open(&status->writer, '{');
    status_text(status, "state",
                template->vacant                     ? "refused"
                : template->state == WORKER_STARTING ? "loading"
                : template->state == WORKER_DOWN     ? "backoff"
                                                     : "ready");
    if (template->pid > 0) {
        status_write_process(status, template);
    }
    writer_close(&status->writer, '}');
}

/* ---- errors ----------------------------------------------------------------------------------------------------- */

static void status_write_record(struct status *status, const char *name)
{
    char path[OPTION_PATH_SIZE + INCIDENT_FILE_SIZE + 1] = "";
    if (name[0] != '\0') {
        (void)snprintf(path, sizeof path, "%s/%s", record_folder(), name);
    }
    status_text(status, "recorded", path);
}

static void status_write_error(struct status *status, const struct kept_incident *kept)
{
    const struct incident *incident = &kept->incident;
    char time[TIMESTAMP_SIZE];
    timestamp_write(incident->at, time);
    writer_open(&status->writer, '{');
    status_text(status, "time", time);
    status_text(status, "id", incident->id);
    status_text(status, "category", error_code((enum error_category)incident->category));
    status_text(status, "type", incident->type);
    status_text(status, "message", incident->text);
    if (kept->worker >= 0) {
        status_number(status, "worker", (uint64_t)kept->worker);
    } else {
        status_token(status, "worker", "null");
    }
    status_text(status, "stack", kept->stack);
    status_write_record(status, incident->file);
    writer_close(&status->writer, '}');
}

static void status_write_errors(struct status *status, struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        struct worker *worker = &supervisor->workers[i];
        if (worker->pid > 0) {
            incidents_collect(&supervisor->incidents, &worker->board->incidents, &worker->incidents_seen,
                              (int32_t)worker->index);
        }
    }
    writer_key(&status->writer, "errors");
    writer_open(&status->writer, '[');
    for (uint32_t i = 0; i < supervisor->incidents.count; i++) {
        status_write_error(status, &supervisor->incidents.kept[i]);
    }
    writer_close(&status->writer, ']');
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

static struct status status_begin(struct desk_reply *reply)
{
    struct status status = {.writer = writer_make(&reply->body), .now = clock_now(), .wall_now = timestamp_now()};
    writer_open(&status.writer, '{');
    return status;
}

static bool status_end(struct status *status, struct desk_reply *reply)
{
    writer_close(&status->writer, '}');
    if (status->writer.status != BUFFER_OK || buffer_append(&reply->body, "\n", 1) != BUFFER_OK) {
        buffer_done(&reply->body);
        reply->status = 503;
    }
    return true;
}

bool status_answer(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply)
{
    (void)request;
    state_note_condition(supervisor, clock_now());
    struct status status = status_begin(reply);
    status_write_program(&status, supervisor);
    status_write_condition(&status, supervisor);
    status_write_running(&status, supervisor);
    status_write_waiting(&status, supervisor);
    status_write_workers(&status, supervisor);
    status_write_template(&status, supervisor->template);
    status_write_errors(&status, supervisor);
    status_write_settings(&status, supervisor);
    return status_end(&status, reply);
}

/* What a probe gets: a status, and for a person why. */
static bool status_answer_probe(struct supervisor *supervisor, bool passes, struct desk_reply *reply)
{
    char reason[STATUS_REASON_SIZE];
    struct status status = status_begin(reply);
    status_reason(supervisor, reason);
    reply->status = passes ? 200 : 503;
    status_text(&status, "status", status_condition_name(state_condition(supervisor)));
    if (reason[0] != '\0') {
        status_text(&status, "reason", reason);
    }
    return status_end(&status, reply);
}

/* The supervisor answers, so it lives, and does for its workers what can be done: a new container would do the same
 * with a longer delay. So this never fails; a supervisor that does not answer fails it. */
bool status_answer_live(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply)
{
    (void)request;
    return status_answer_probe(supervisor, true, reply);
}

bool status_answer_ready(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply)
{
    (void)request;
    return status_answer_probe(supervisor, state_is_ready(supervisor), reply);
}

/* The function was loaded once. */
bool status_answer_startup(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply)
{
    (void)request;
    return status_answer_probe(supervisor, supervisor->has_served, reply);
}
