/*
 * log: one event is one write of one line, whatever the text is. Standard error is a packet socket here, so that each
 * write can be told from the next.
 */
#include "descriptors.h"
#include "json_check.h"

#include "base/log.h"
#include "base/traceparent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int packets = -1;
static int saved = -1;

static int listen_begin(void **state)
{
    int pair[2];
    if (descriptors_note(state) != 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        return -1;
    }
    packets = pair[0];
    saved = dup(STDERR_FILENO);
    dup2(pair[1], STDERR_FILENO);
    close(pair[1]);
    log_configure(LOG_LEVEL_INFO, LOG_TEXT);
    return 0;
}

static int listen_end(void **state)
{
    static char rest[1 << 16]; /* what cmocka had to say */
    ssize_t got;
    dup2(saved, STDERR_FILENO);
    close(saved);
    while ((got = recv(packets, rest, sizeof rest, 0)) > 0) {
        (void)fwrite(rest, 1, (size_t)got, stderr);
    }
    close(packets);
    return descriptors_check(state);
}

#define LOG_TEST(function) cmocka_unit_test_setup_teardown(function, listen_begin, listen_end)

/* The next line, which must be there, whole and alone, without its newline; NUL-terminated. */
static size_t next_line(char line[LOG_RECORD_SIZE + 1])
{
    ssize_t got = recv(packets, line, LOG_RECORD_SIZE + 1, MSG_DONTWAIT | MSG_TRUNC);
    assert_in_range(got, 1, LOG_RECORD_SIZE);
    assert_int_equal(line[got - 1], '\n');
    line[got - 1] = '\0';
    for (const char *at = line; (at = strchr(at, '\n')) != NULL; at++) {
        assert_memory_equal(at, "\n    ", 5); /* a further line, which begins no record */
    }
    assert_int_equal(strlen(line), got - 1);
    assert_true(utf8_check(line, (size_t)got - 1));
    return (size_t)got - 1;
}

static void log_stack(enum log_level level, const char *message, const char *stack)
{
    log_event(level, EVENT_REQUEST_FAILED, &(struct log_facts){.stack = stack}, "%s", message);
}

static bool is_silent(void)
{
    char byte;
    return recv(packets, &byte, 1, MSG_DONTWAIT) < 0;
}

enum { TIME_SIZE = sizeof "2026-01-31T23:59:59.123Z" - 1 };

static bool is_time(const char *text)
{
    static const char pattern[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    for (size_t i = 0; i < TIME_SIZE; i++) {
        if (pattern[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != pattern[i]) {
            return false;
        }
    }
    return true;
}

/* The text behind time and level of a line in text format. */
static const char *message_of(const char *line, const char *level)
{
    assert_true(is_time(line));
    assert_int_equal(line[TIME_SIZE], ' ');
    assert_memory_equal(line + TIME_SIZE + 1, level, strlen(level));
    assert_int_equal(line[TIME_SIZE + 1 + strlen(level)], ' ');
    return line + TIME_SIZE + 2 + strlen(level);
}

static void an_event_is_one_line_with_time_and_level(void **state)
{
    (void)state;
    char line[LOG_RECORD_SIZE + 1];
    log_info(EVENT_RUNTIME_ERROR, "listening on %s, %d worker", "/tmp/x.sock", 1);
    next_line(line);
    assert_string_equal(message_of(line, "INFO"), "listening on /tmp/x.sock, 1 worker");
    log_warning(EVENT_RUNTIME_ERROR, "w");
    next_line(line);
    assert_string_equal(message_of(line, "WARNING"), "w");
    log_error(EVENT_RUNTIME_ERROR, "%s", "");
    next_line(line);
    assert_string_equal(message_of(line, "ERROR"), "");
    log_stack(LOG_LEVEL_ERROR, "it failed", "because\nof this\n");
    next_line(line);
    assert_string_equal(message_of(line, "ERROR"), "it failed\n    because\n    of this");
    assert_true(is_silent());
}

static void the_time_is_the_time(void **state)
{
    (void)state;
    char line[LOG_RECORD_SIZE + 1];
    char before[64];
    char after[64];
    FILE *date;
    for (int i = 0; i < 2; i++) {
        date = popen("date -u +%Y-%m-%dT%H:%M:%S", "re");
        assert_non_null(date);
        char *target = i == 0 ? before : after;
        assert_non_null(fgets(target, sizeof before, date));
        pclose(date);
        target[TIME_SIZE - 5] = '\0';
        if (i == 0) {
            log_info(EVENT_RUNTIME_ERROR, "now");
            next_line(line);
        }
    }
    line[TIME_SIZE - 5] = '\0';
    assert_true(strcmp(before, line) <= 0 && strcmp(line, after) <= 0);
}

static void levels_below_the_lowest_are_silent(void **state)
{
    (void)state;
    char line[LOG_RECORD_SIZE + 1];
    static void (*const functions[])(enum event, const char *, ...) = {log_debug, log_info, log_warning, log_error};
    for (int lowest = LOG_LEVEL_DEBUG; lowest <= LOG_LEVEL_ERROR; lowest++) {
        log_configure((enum log_level)lowest, LOG_TEXT);
        for (int level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_ERROR; level++) {
            assert_int_equal(!!log_enabled((enum log_level)level), level >= lowest);
            functions[level](EVENT_RUNTIME_ERROR, "x");
            log_stack((enum log_level)level, "x", "y");
            if (level >= lowest) {
                next_line(line);
                next_line(line);
            }
            assert_true(is_silent());
        }
    }
}

struct escape_row {
    const char *name;
    const char *text;
    const char *expected; /* in text format */
};

static const struct escape_row escape_rows[] = {
    {"plain text stands as it is", "plain \"quoted\" text", "plain \"quoted\" text"},
    {"a newline begins no line", "a\nb", "a\\nb"},
    {"nor does a carriage return", "a\rb", "a\\rb"},
    {"a tab moves nothing", "a\tb", "a\\tb"},
    {"an escape reaches no terminal", "\x1B]0;title\x07", "\\x1b]0;title\\x07"},
    {"nor does backspace or delete", "a\x08\x7F", "a\\x08\\x7f"},
    {"a C1 control is no character",
     "a\xC2\x9B"
     "31m",
     "a\\xc2\\x9b31m"},
    {"the first C1 control is none either", "\xC2\x80", "\\xc2\\x80"},
    {"the last C1 control is none either", "\xC2\x9F", "\\xc2\\x9f"},
    {"what follows the C1 controls is text", "\xC2\xA0\xC3\xA9", "\xC2\xA0\xC3\xA9"},
    {"a line separator begins no line",
     "a\xE2\x80\xA8"
     "b",
     "a\\xe2\\x80\\xa8b"},
    {"a paragraph separator begins no line",
     "a\xE2\x80\xA9"
     "b",
     "a\\xe2\\x80\\xa9b"},
    {"their neighbour is text", "\xE2\x80\xA7", "\xE2\x80\xA7"},
    {"an override turns no text around", "\xE2\x80\xAE", "\\xe2\\x80\\xae"},
    {"nor does an embedding", "\xE2\x80\xAA", "\\xe2\\x80\\xaa"},
    {"what follows the overrides is text", "\xE2\x80\xAF", "\xE2\x80\xAF"},
    {"nor does an isolate", "\xE2\x81\xA6\xE2\x81\xA9", "\\xe2\\x81\\xa6\\xe2\\x81\\xa9"},
    {"nor does a mark", "\xE2\x80\x8E\xE2\x80\x8F\xD8\x9C", "\\xe2\\x80\\x8e\\xe2\\x80\\x8f\\xd8\\x9c"},
    {"Arabic letters stand", "\xD8\x9B\xD8\xA7", "\xD8\x9B\xD8\xA7"},
    {"joiners belong to text", "\xE2\x80\x8C\xE2\x80\x8D", "\xE2\x80\x8C\xE2\x80\x8D"},
    {"a byte order mark shows", "\xEF\xBB\xBF", "\\xef\\xbb\\xbf"},
    {"an annotation hides nothing", "\xEF\xBF\xB9", "\\xef\\xbf\\xb9"},
    {"a replacement character stands", "\xEF\xBF\xBD", "\xEF\xBF\xBD"},
    {"a tag shows", "\xF3\xA0\x80\x81\xF3\xA0\x81\xBF", "\\xf3\\xa0\\x80\\x81\\xf3\\xa0\\x81\\xbf"},
    {"what follows the tags stands", "\xF3\xA0\x82\x80", "\xF3\xA0\x82\x80"},
    {"characters of three and four bytes stand", "\xE2\x82\xAC\xF0\x9F\x98\x80", "\xE2\x82\xAC\xF0\x9F\x98\x80"},
    {"a stray continuation byte is escaped", "a\x80", "a\\x80"},
    {"a cut character is escaped", "\xE2\x82", "\\xe2\\x82"},
    {"a cut character before text is escaped", "\xF0\x9F\x98z", "\\xf0\\x9f\\x98z"},
    {"an overlong slash is escaped", "\xC0\xAF", "\\xc0\\xaf"},
    {"a long overlong slash is escaped", "\xE0\x80\xAF", "\\xe0\\x80\\xaf"},
    {"the longest overlong slash is escaped", "\xF0\x80\x80\xAF", "\\xf0\\x80\\x80\\xaf"},
    {"a surrogate is escaped", "\xED\xA0\x80", "\\xed\\xa0\\x80"},
    {"a code point beyond Unicode is escaped", "\xF4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
    {"bytes that never occur are escaped", "\xFE\xFF", "\\xfe\\xff"},
    {"a forged line of JSON is text", "x\n{\"level\":\"ERROR\"}", "x\\n{\"level\":\"ERROR\"}"},
};

static void no_text_reaches_a_terminal_or_begins_a_line(void **state)
{
    (void)state;
    char line[LOG_RECORD_SIZE + 1];
    for (size_t i = 0; i < sizeof escape_rows / sizeof escape_rows[0]; i++) {
        const struct escape_row *row = &escape_rows[i];
        log_info(EVENT_RUNTIME_ERROR, "%s", row->text);
        next_line(line);
        if (strcmp(message_of(line, "INFO"), row->expected) != 0) {
            fail_msg("%s: %s", row->name, line);
        }
        log_stack(LOG_LEVEL_INFO, "m", row->text);
        next_line(line);
        if (strchr(row->text, '\n') == NULL && strcmp(message_of(line, "INFO") + 6, row->expected) != 0) {
            fail_msg("%s, in a stack: %s", row->name, line);
        }
    }
}

static void every_byte_gives_a_clean_line_in_both_formats(void **state)
{
    (void)state;
    char line[LOG_RECORD_SIZE + 1];
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        log_configure(LOG_LEVEL_INFO, (enum log_format)format);
        for (unsigned first = 1; first < 256; first++) {
            for (unsigned second = 0; second < 256; second += first < 0x80 ? 255 : 1) {
                const char text[] = {'<', (char)first, (char)second, '>', '\0'};
                log_info(EVENT_RUNTIME_ERROR, "%s", text);
                size_t size = next_line(line);
                for (size_t i = 0; i < size; i++) {
                    assert_true((unsigned char)line[i] >= 0x20 && line[i] != 0x7F);
                }
                if (format == LOG_JSON) {
                    assert_true(json_check(line, size));
                }
            }
        }
    }
}

/* What may not stand in a line is there as an escape of JSON: whoever reads the value has the character. */
static void json_lines_keep_the_characters_they_escape(void **state)
{
    (void)state;
    char line[LOG_RECORD_SIZE + 1];
    char value[LOG_RECORD_SIZE];
    size_t size;
    log_configure(LOG_LEVEL_INFO, LOG_JSON);
    static const struct {
        const char *text;
        const char *escaped;
    } rows[] = {{"\xC2\x9B", "\\u009b"},
                {"\xE2\x80\xAE", "\\u202e"},
                {"\xEF\xBB\xBF", "\\ufeff"},
                {"\xF3\xA0\x81\xBF", "\\udb40\\udc7f"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        log_info(EVENT_RUNTIME_ERROR, "%s", rows[i].text);
        size_t length = next_line(line);
        assert_non_null(strstr(line, rows[i].escaped));
        assert_true(json_check_member(line, length, "message", value, sizeof value, &size));
        assert_string_equal(value, rows[i].text);
    }
}

static void json_lines_are_json_with_the_same_text(void **state)
{
    (void)state;
    char line[LOG_RECORD_SIZE + 1];
    char value[LOG_RECORD_SIZE];
    size_t size;
    log_configure(LOG_LEVEL_INFO, LOG_JSON);
    static const char *const texts[] = {"plain", "say \"hi\" \\ bye", "two\nlines\r\n\ttab", "\x01\x1F\x7F",
                                        "\xE2\x82\xAC\xF0\x9F\x98\x80"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        log_warning(EVENT_RUNTIME_ERROR, "%s", texts[i]);
        size_t length = next_line(line);
        assert_true(json_check_member(line, length, "message", value, sizeof value, &size));
        assert_string_equal(value, texts[i]);
        assert_true(json_check_member(line, length, "level", value, sizeof value, &size));
        assert_string_equal(value, "WARNING");
        assert_true(json_check_member(line, length, "time", value, sizeof value, &size));
        assert_int_equal(size, TIME_SIZE);
        assert_true(is_time(value));
    }
    log_stack(LOG_LEVEL_ERROR, "head", "two\nlines\n");
    size_t length = next_line(line);
    assert_true(json_check_member(line, length, "message", value, sizeof value, &size));
    assert_string_equal(value, "head");
    assert_true(json_check_member(line, length, "stack", value, sizeof value, &size));
    assert_string_equal(value, "two\nlines");
    assert_ptr_equal(strchr(line, '\n'), NULL);
}

/* Texts longer than a line, of characters that are escaped and that are not. */
static void long_texts_are_cut_to_one_line_and_stay_well_formed(void **state)
{
    (void)state;
    static const char *const characters[] = {"a",    "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\n", "\x1B",
                                             "\xFF", "\"",       "\\",           "\xC2\x9B",         "a\n"};
    static char text[3 * LOG_RECORD_SIZE];
    char line[LOG_RECORD_SIZE + 1];
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        log_configure(LOG_LEVEL_INFO, (enum log_format)format);
        for (size_t i = 0; i < sizeof characters / sizeof characters[0]; i++) {
            for (size_t offset = 0; offset < 6; offset++) {
                size_t step = strlen(characters[i]);
                size_t size = offset;
                memset(text, 'x', offset);
                for (; size + step < sizeof text; size += step) {
                    memcpy(text + size, characters[i], step);
                }
                text[size] = '\0';
                log_info(EVENT_RUNTIME_ERROR, "%s", text);
                size_t length = next_line(line);
                assert_true(length > LOG_MESSAGE_MAX - 32);
                assert_true(format == LOG_TEXT || json_check(line, length));
                log_stack(LOG_LEVEL_INFO, text, text);
                length = next_line(line);
                assert_true(length > LOG_RECORD_SIZE - 64 || characters[i][0] == '\n'); /* the newlines at the end go */
                assert_true(format == LOG_TEXT || json_check(line, length));
            }
        }
    }
}

static void no_format_or_message_overruns_at_any_length(void **state)
{
    (void)state;
    static char text[LOG_RECORD_SIZE + 64];
    char line[LOG_RECORD_SIZE + 1];
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        log_configure(LOG_LEVEL_INFO, (enum log_format)format);
        for (size_t size = LOG_MESSAGE_MAX - 160; size < LOG_MESSAGE_MAX + 160; size++) {
            memset(text, 'a', size);
            text[size] = '\0';
            text[size - 1] = '"';
            log_info(EVENT_RUNTIME_ERROR, "%s", text);
            size_t length = next_line(line);
            assert_true(format == LOG_TEXT || json_check(line, length));
        }
    }
}

struct detail_row {
    const char *name;
    const char *unit; /* what the detail is made of, many times over */
};

static const struct detail_row detail_rows[] = {
    {"plain lines", "  File \"handler.py\", line 7, in process\n"},
    {"nothing but newlines", "\n"},
    {"nothing but escapes", "\x1B"},
    {"nothing but bytes that are no text", "\xFF"},
    {"nothing but quotes", "\""},
    {"characters of four bytes", "\xF0\x9F\x98\x80"},
};

static void a_long_detail_keeps_its_end(void **state)
{
    (void)state;
    static char detail[1 << 16];
    char line[LOG_RECORD_SIZE + 1];
    char value[LOG_RECORD_SIZE];
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        log_configure(LOG_LEVEL_INFO, (enum log_format)format);
        for (size_t i = 0; i < sizeof detail_rows / sizeof detail_rows[0]; i++) {
            static const char end[] = "ValueError: the end";
            size_t step = strlen(detail_rows[i].unit);
            size_t size = 0;
            for (; size + step + sizeof end < sizeof detail; size += step) {
                memcpy(detail + size, detail_rows[i].unit, step);
            }
            memcpy(detail + size, end, sizeof end);
            log_stack(LOG_LEVEL_ERROR, "the function failed", detail);
            size_t length = next_line(line);
            const char *stack = value;
            if (format == LOG_JSON) {
                assert_true(json_check_member(line, length, "stack", value, sizeof value, &length));
            } else {
                stack = strchr(line, '\n') + 5;
            }
            const char *message = stack;
            size_t whole = strlen(message);
            if (strncmp(message, "...\n", 4) != 0 || whole < 500 ||
                strcmp(message + whole - (sizeof end - 1), end) != 0) {
                fail_msg("%s: %s", detail_rows[i].name, line);
            }
        }
    }
}

static void a_short_detail_is_whole(void **state)
{
    (void)state;
    char line[LOG_RECORD_SIZE + 1];
    char detail[1500];
    memset(detail, 'd', sizeof detail - 1);
    detail[0] = 'B';
    detail[sizeof detail - 1] = '\0';
    log_stack(LOG_LEVEL_ERROR, "m", detail);
    next_line(line);
    assert_string_equal(message_of(line, "ERROR") + 6, detail);
}

static void a_line_that_cannot_be_written_is_dropped(void **state)
{
    (void)state;
    int kept = dup(STDERR_FILENO);
    close(STDERR_FILENO);
    log_error(EVENT_RUNTIME_ERROR, "nobody hears this");
    log_stack(LOG_LEVEL_ERROR, "nor", "this");
    assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);
    close(kept);
    assert_true(is_silent());
}

#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

struct about_row {
    const char *name;
    const char *id;
    const char *traceparent;
    const char *text; /* behind the level */
    const char *json; /* behind the event */
};

static const struct about_row about_rows[] = {
    {"both names", "a-1", TRACE, "[a-1 " TRACE "] m",
     ",\"request_id\":\"a-1\",\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"span_id\":\"00f067aa0ba902b7\""},
    {"the id alone", "a-1", "", "[a-1] m", ",\"request_id\":\"a-1\""},
    {"the trace alone", "", TRACE, "[" TRACE "] m",
     ",\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"span_id\":\"00f067aa0ba902b7\""},
    {"a trace that is not valid", "a-1", "00-t-01", "[a-1 00-t-01] m", ",\"request_id\":\"a-1\""},
    {"neither", "", "", "m", ""},
    {"an id that would begin a line", "a\nb", "", "[a\\nb] m", ",\"request_id\":\"a\\nb\""},
    {"an id that would end its string", "a\"b", "", "[a\"b] m", ",\"request_id\":\"a\\\"b\""},
};

static void a_line_about_a_request_names_it(void **state)
{
    (void)state;
    char line[LOG_RECORD_SIZE + 1];
    char expected[LOG_RECORD_SIZE];
    for (size_t i = 0; i < sizeof about_rows / sizeof *about_rows; i++) {
        const struct about_row *row = &about_rows[i];
        struct log_facts facts = {.request = {.id = view_of(row->id), .traceparent = view_of(row->traceparent)}};
        log_configure(LOG_LEVEL_INFO, LOG_TEXT);
        log_event(LOG_LEVEL_ERROR, EVENT_REQUEST_FAILED, &facts, "m");
        next_line(line);
        if (strcmp(message_of(line, "ERROR"), row->text) != 0) {
            fail_msg("%s: %s", row->name, line);
        }
        log_configure(LOG_LEVEL_INFO, LOG_JSON);
        log_event(LOG_LEVEL_ERROR, EVENT_REQUEST_FAILED, &facts, "m");
        next_line(line);
        (void)snprintf(expected, sizeof expected,
                       "\"level\":\"ERROR\",\"message\":\"m\",\"event\":\"request_failed\"%s,\"pid\":%d}", row->json,
                       (int)getpid());
        const char *level = strstr(line, "\"level\"");
        assert_non_null(level);
        if (strcmp(level, expected) != 0) {
            fail_msg("%s, in JSON: %s", row->name, line);
        }
    }
}

static void facts_are_members_in_json_and_not_repeated_in_text(void **state)
{
    (void)state;
    char line[LOG_RECORD_SIZE + 1];
    const struct log_facts facts = {.worker = 2,
                                    .pid = 77,
                                    .category = "processing_error",
                                    .error_type = "Key\"Error",
                                    .duration = 1234567890,
                                    .stack = "a\nb"};
    log_configure(LOG_LEVEL_INFO, LOG_JSON);
    log_event(LOG_LEVEL_INFO, EVENT_WORKER_DIED, &facts, "m");
    assert_true(json_check(line, next_line(line)));
    assert_string_equal(strstr(line, ",\"event\""),
                        ",\"event\":\"worker_died\",\"worker\":2,\"pid\":77,\"category\":\"processing_error\","
                        "\"error_type\":\"Key\\\"Error\",\"duration_seconds\":1.234567,\"stack\":\"a\\nb\"}");
    log_configure(LOG_LEVEL_INFO, LOG_TEXT);
    log_event(LOG_LEVEL_INFO, EVENT_WORKER_DIED, &facts, "m");
    next_line(line);
    assert_string_equal(message_of(line, "INFO"), "m\n    a\n    b");
}

static void names_are_cut_and_leave_room_for_the_message(void **state)
{
    (void)state;
    char line[LOG_RECORD_SIZE + 1];
    static char name[5000];
    memset(name, '\x01', sizeof name - 1); /* six bytes each in JSON */
    struct log_facts facts = {.request = {.id = view_of(name), .traceparent = view_of(name)}, .error_type = name};
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        log_configure(LOG_LEVEL_INFO, (enum log_format)format);
        log_event(LOG_LEVEL_ERROR, EVENT_REQUEST_FAILED, &facts, "the message");
        next_line(line);
        assert_non_null(strstr(line, "the message"));
        facts.stack = name;
        log_event(LOG_LEVEL_ERROR, EVENT_REQUEST_FAILED, &facts, "%s", name);
        next_line(line);
    }
}

struct trace_row {
    const char *text;
    bool valid;
};

static const struct trace_row trace_rows[] = {
    {TRACE, true},
    {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", true},
    {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", true},
    {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", false}, /* version 00 has no more */
    {"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true},
    {"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes", true},
    {"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.", false},
    {"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
    {"0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
    {"00-00000000000000000000000000000000-00f067aa0ba902b7-01", false},
    {"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false},
    {"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false},
    {"00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01", false},
    {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1", false},
    {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x", false},
    {"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
    {" 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
    {"", false},
};

static void a_traceparent_is_valid_as_the_recommendation_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof trace_rows / sizeof *trace_rows; i++) {
        if (traceparent_is_valid(view_of(trace_rows[i].text)) != trace_rows[i].valid) {
            fail_msg("%s", trace_rows[i].text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(an_event_is_one_line_with_time_and_level),
        LOG_TEST(the_time_is_the_time),
        LOG_TEST(levels_below_the_lowest_are_silent),
        LOG_TEST(no_text_reaches_a_terminal_or_begins_a_line),
        LOG_TEST(every_byte_gives_a_clean_line_in_both_formats),
        LOG_TEST(json_lines_are_json_with_the_same_text),
        LOG_TEST(json_lines_keep_the_characters_they_escape),
        LOG_TEST(long_texts_are_cut_to_one_line_and_stay_well_formed),
        LOG_TEST(no_format_or_message_overruns_at_any_length),
        LOG_TEST(a_long_detail_keeps_its_end),
        LOG_TEST(a_short_detail_is_whole),
        LOG_TEST(a_line_about_a_request_names_it),
        LOG_TEST(facts_are_members_in_json_and_not_repeated_in_text),
        LOG_TEST(a_traceparent_is_valid_as_the_recommendation_says),
        LOG_TEST(names_are_cut_and_leave_room_for_the_message),
        LOG_TEST(a_line_that_cannot_be_written_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
