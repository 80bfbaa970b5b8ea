/* metrics: the document that Prometheus reads, in both formats. tests/admin has it of a real runtime. */
#include "supervisor/metrics.h"

#include "server/cancel.h"
#include "supervisor/ledger.h"
#include "supervisor/page.h"
#include "supervisor/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { DOCUMENT_SIZE = 1 << 18 };

static struct supervisor supervisor;
static struct options options;
static struct worker_hooks hooks = {.python = "3.11.7 (main, Jan 1 2026)"};
static unsigned char bytes[DOCUMENT_SIZE + 1];

static int begin(void **state)
{
    (void)state;
    supervisor = (struct supervisor){.options = &options,
                                     .hooks = &hooks,
                                     .worker_count = 2,
                                     .queue_receive = -1,
                                     .started_wall = 1700000000 * CLOCK_SECOND};
    supervisor.workers = calloc(2, sizeof *supervisor.workers);
    assert_non_null(supervisor.workers);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(worker_init(&supervisor.workers[i], i), 0);
    }
    supervisor.workers[0].state = WORKER_READY;
    supervisor.workers[0].pid = getpid();
    supervisor.phase = PHASE_SERVING;
    supervisor.workers[1].vacant = true;
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        worker_drop_board(&supervisor.workers[i]);
    }
    free(supervisor.workers);
    return 0;
}

static const char *render(enum metrics_format format)
{
    struct buffer out = buffer_fixed(bytes, DOCUMENT_SIZE);
    assert_true(metrics_render(&supervisor, format, &out));
    bytes[out.size] = '\0';
    return (const char *)bytes;
}

static void expect(const char *line)
{
    char whole[512];
    (void)snprintf(whole, sizeof whole, "\n%s\n", line);
    if (strstr(render(METRICS_TEXT), whole) == NULL) {
        fail_msg("%s is missing in %s", line, (const char *)bytes);
    }
}

static void work(uint32_t row)
{
    struct tally *tally = &supervisor.workers[0].board->tally;
    _Atomic uint8_t pending = 1;
    struct tally_request request = {.began = clock_now(), .pending = row + 1};
    tally_count(tally, PROTOCOL_HTTP, &request, clock_now(), 0, &pending);
}

#define OK_LINE "asya_runtime_requests_total{protocol=\"http\",outcome=\"ok\",error_type=\"\"} "

static void nothing_is_lost_when_a_worker_dies(void **state)
{
    (void)state;
    work(ERR_NONE);
    work(ERR_NONE);
    expect(OK_LINE "2");
    struct worker *worker = &supervisor.workers[0];
    work(ERR_NONE);
    ledger_absorb(&worker->board->tally, &worker->seen);
    scoreboard_reset(worker->board);
    expect(OK_LINE "3");
    work(ERR_NONE);
    expect(OK_LINE "4");
    memset(&worker->board->tally, 0xFF, sizeof worker->board->tally); /* the function writes over it */
    expect(OK_LINE "4");
    ledger_absorb(&worker->board->tally, &worker->seen);
    scoreboard_reset(worker->board);
    expect(OK_LINE "4");
}

static void what_the_supervisor_answers_is_counted(void **state)
{
    (void)state;
    struct error err;
    error_set_processing(&err, "WorkerCrashed", "it died");
    ledger_note_answer(PROTOCOL_RAW, &err, clock_now());
    expect("asya_runtime_requests_total{protocol=\"raw\",outcome=\"processing_error\",error_type=\"WorkerCrashed\"} 1");
    expect("asya_runtime_request_duration_seconds_count{outcome=\"processing_error\"} 1");
    uint32_t row = tally_row(&supervisor.workers[0].board->tally, ERR_VALIDATION, view_of("Odd\"\\\n\x01Name"));
    ledger_note_row(&supervisor.workers[0].board->tally, row, PROTOCOL_FRAMED, UINT64_MAX);
    expect("asya_runtime_requests_total{protocol=\"framed\",outcome=\"validation_error\",error_type=\"Odd\\\"\\\\\\n_"
           "Name\"} 1");
    ledger_note_exit(ENDED_SIGNAL, 11);
    ledger_note_exit(ENDED_SIGNAL, 40);
    ledger_note_exit(ENDED_TIMEOUT, 15);
    ledger_note_cancel(CANCEL_TIMEOUT);
    expect("asya_runtime_worker_exits_total{cause=\"signal\",signal=\"SIGSEGV\"} 1");
    expect("asya_runtime_worker_exits_total{cause=\"signal\",signal=\"other\"} 1");
    expect("asya_runtime_worker_exits_total{cause=\"timeout\",signal=\"\"} 1");
    expect("asya_runtime_cancellations_total{reason=\"timeout\"} 1");
}

static void what_runs_is_on_the_scoreboards(void **state)
{
    (void)state;
    struct scoreboard *board = supervisor.workers[0].board;
    expect("asya_runtime_oldest_request_start_timestamp_seconds 0.000000000");
    expect("asya_runtime_workers{state=\"idle\"} 1");
    board->running = 1;
    board->queued = 3;
    board->holding = 5;
    board->slots[4].state = SLOT_RUNNING;
    board->slots[4].since = clock_now();
    expect("asya_runtime_requests_in_flight 1");
    expect("asya_runtime_requests_waiting 3");
    expect("asya_runtime_connections 5");
    expect("asya_runtime_workers{state=\"busy\"} 1");
    expect("asya_runtime_ready 1");
    expect("process_start_time_seconds 1700000000.000000000");
    assert_null(strstr((const char *)bytes, "asya_runtime_oldest_request_start_timestamp_seconds 0"));
    board->queued = UINT32_MAX; /* the function writes over it */
    expect("asya_runtime_requests_waiting 0");
}

static void the_version_of_python_is_that_of_the_interpreter(void **state)
{
    (void)state;
    assert_non_null(strstr(render(METRICS_TEXT), "python_version=\"3.11.7\",python_implementation=\"CPython\"} 1\n"));
}

static void openmetrics_names_families_of_counters_otherwise(void **state)
{
    (void)state;
    const char *text = render(METRICS_OPEN);
    assert_non_null(strstr(text, "\n# TYPE asya_runtime_requests counter\n"));
    assert_non_null(strstr(text, "\nasya_runtime_requests_total{"));
    assert_non_null(strstr(text, "\n# EOF\n"));
    assert_int_equal(strcmp(text + strlen(text) - 6, "# EOF\n"), 0);
    assert_null(strstr(render(METRICS_TEXT), "EOF"));
}

static void a_document_that_does_not_fit_is_none(void **state)
{
    (void)state;
    struct buffer out = buffer_fixed(bytes, 1000);
    out.size = 3;
    assert_false(metrics_render(&supervisor, METRICS_TEXT, &out));
    assert_int_equal(out.size, 3);
}

static void the_format_is_the_one_that_is_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        enum metrics_format format;
    } rows[] = {
        {"", METRICS_TEXT},
        {"*/*", METRICS_TEXT},
        {"text/plain;version=0.0.4", METRICS_TEXT},
        {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
         "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         METRICS_OPEN},
        {"application/openmetrics-text; version=1.0.0; q=0, text/plain", METRICS_TEXT},
        {"text/plain;q=0.8, application/openmetrics-text;q=0.3", METRICS_TEXT},
        {"Application/OpenMetrics-Text", METRICS_OPEN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (metrics_choose(view_of(rows[i].accept)) != rows[i].format) {
            fail_msg("%s", rows[i].accept);
        }
    }
}

static void doubles_are_written_as_prometheus_reads_them(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } rows[] = {{0, "x 0.0\n"},
                {1.5, "x 1.5\n"},
                {-2e30, "x -2e+30\n"},
                {__builtin_inf(), "x +Inf\n"},
                {-__builtin_inf(), "x -Inf\n"},
                {__builtin_nan(""), "x NaN\n"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buffer out = buffer_fixed(bytes, DOCUMENT_SIZE);
        struct page page = {.out = &out};
        page_sample(&page, "x", "");
        page_double(&page, rows[i].value);
        bytes[out.size] = '\0';
        assert_string_equal((const char *)bytes, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_lost_when_a_worker_dies, begin, end),
        cmocka_unit_test_setup_teardown(what_the_supervisor_answers_is_counted, begin, end),
        cmocka_unit_test_setup_teardown(what_runs_is_on_the_scoreboards, begin, end),
        cmocka_unit_test_setup_teardown(the_version_of_python_is_that_of_the_interpreter, begin, end),
        cmocka_unit_test_setup_teardown(openmetrics_names_families_of_counters_otherwise, begin, end),
        cmocka_unit_test_setup_teardown(a_document_that_does_not_fit_is_none, begin, end),
        cmocka_unit_test(the_format_is_the_one_that_is_asked_for),
        cmocka_unit_test(doubles_are_written_as_prometheus_reads_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
