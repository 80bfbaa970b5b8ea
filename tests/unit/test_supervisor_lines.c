/*
 * lines: a text is fed whole and byte by byte, and the pieces are the same. In the rows <e x> is a MARK_END that says
 * that the text before it is of request x, and <a x> is a MARK_ASIDE.
 */
#include "supervisor/lines.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct mark_head head = {"\x1E"
                                      "a head of its.."};
static struct lines lines;

static size_t add_mark(char *target, enum mark_kind kind, const char *id)
{
    memcpy(target, &head, sizeof head);
    target[MARK_HEAD_SIZE] = (char)kind;
    target[MARK_HEAD_SIZE + 1] = (char)strlen(id);
    target[MARK_HEAD_SIZE + 2] = 2;
    size_t size = (size_t)sprintf(target + MARK_HEAD_SIZE + 3, "%st%s", id, id[0] != '\0' ? "p" : "-");
    return MARK_HEAD_SIZE + 3 + size;
}

static size_t compose(const char *row, char *target)
{
    size_t size = 0;
    while (*row != '\0') {
        if (*row != '<') {
            target[size++] = *row++;
            continue;
        }
        char id[] = {row[3] != '>' ? row[3] : '\0', '\0'};
        enum mark_kind kind = row[1] == 'e' ? MARK_END : MARK_ASIDE;
        size += add_mark(target + size, kind, id);
        row = strchr(row, '>') + 1;
    }
    return size;
}

static void describe(const struct line_piece *piece, char **end)
{
    const struct log_request *request = &piece->request;
    *end += sprintf(*end, "[%.*s%s]%.*s%s|", piece->is_known ? (int)request->id.size : 1,
                    piece->is_known ? request->id.data : "?",
                    piece->is_known && request->id.size > 0 && request->traceparent.data[1] != 'p' ? " no trace" : "",
                    (int)piece->text.size, piece->text.data, piece->continues ? "..." : "");
}

static void take(enum lines_share share, char **end)
{
    struct line_piece piece;
    while (lines_next(&lines, share, &piece)) {
        describe(&piece, end);
    }
}

static void feed(const char *bytes, size_t size)
{
    size_t room;
    char *target = lines_room(&lines, &room);
    assert_true(room >= size);
    memcpy(target, bytes, size);
    lines_add(&lines, size, 7);
}

static const struct {
    const char *name;
    const char *row;
    enum lines_share share;
    const char *pieces;
} rows[] = {
    {"a line that nothing follows waits for its mark", "one\n", LINES_MARKED, ""},
    {"or is given to whoever runs", "one\ntwo\n", LINES_WHOLE, "[?]one|[?]two|"},
    {"an empty line is one", "\n\na\n", LINES_WHOLE, "[?]|[?]|[?]a|"},
    {"a line without an end waits", "one\ntw", LINES_WHOLE, "[?]one|"},
    {"and says so when it is given all the same", "one\ntw", LINES_SO_FAR, "[?]one|[?]tw...|"},
    {"the last one has ended", "one\ntw", LINES_LAST, "[?]one|[?]tw|"},
    {"a mark behind it says whose it is", "one\ntwo\n<e a>", LINES_MARKED, "[a]one|[a]two|"},
    {"and ends its line", "one<e a>two\n<e b>", LINES_MARKED, "[a]one|[b]two|"},
    {"requests that print nothing are not seen", "<e a><e b>x\n<e c>", LINES_MARKED, "[c]x|"},
    {"what is of nobody is known to be", "boot\n<e >x\n<e a>", LINES_MARKED, "[]boot|[a]x|"},
    {"what follows the last mark waits", "x\n<e a>y\n", LINES_MARKED, "[a]x|"},
    {"or is of whoever runs", "x\n<e a>y\n", LINES_WHOLE, "[a]x|[?]y|"},
    {"beside each other it is the same", "c\n<a >x\n<a a>d\n", LINES_WHOLE, "[]c|[a]x|[?]d|"},
    {"but a line goes on, and its end is no line", "x<a a>\n<a a>y\n<a b>", LINES_MARKED, "[a]x...|[b]y|"},
    {"carriage returns leave what a terminal shows", "1%\r2%\r3%\nx\r\n", LINES_WHOLE, "[?]3%|[?]x|"},
    {"also of a line that goes on", "1%\r2%\r", LINES_SO_FAR, "[?]2%...|"},
    {"part of a mark is part of a mark",
     "x\n\x1E"
     "a head of",
     LINES_WHOLE, ""},
    {"unless nothing follows it",
     "x\n\x1E"
     "a head of",
     LINES_LAST,
     "[?]x|[?]\x1E"
     "a head of|"},
    {"what only begins like one is text",
     "\x1E"
     "a head\n\x1E\n",
     LINES_WHOLE,
     "[?]\x1E"
     "a head|[?]\x1E|"},
};

static void test_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[1024];
        char got[1024] = "";
        char *end = got;
        lines_reset(&lines, &head);
        feed(text, compose(rows[i].row, text));
        take(rows[i].share, &end);
        if (strcmp(got, rows[i].pieces) != 0) {
            fail_msg("%s: %s", rows[i].name, got);
        }
    }
}

/* Until the last byte nothing is taken that a mark may follow: so these are the rows in which marks say all. */
static void test_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[1024];
        char got[1024] = "";
        char *end = got;
        size_t size = compose(rows[i].row, text);
        lines_reset(&lines, &head);
        for (size_t at = 0; at < size; at++) {
            feed(text + at, 1);
            take(LINES_MARKED, &end);
        }
        take(rows[i].share, &end);
        if (strcmp(got, rows[i].pieces) != 0) {
            fail_msg("%s: %s", rows[i].name, got);
        }
    }
}

static void test_ends_are_counted(void **state)
{
    (void)state;
    char text[256];
    char got[256];
    char *end = got;
    lines_reset(&lines, &head);
    feed(text, compose("x<e a>y<e b><e c>", text));
    take(LINES_MARKED, &end);
    assert_int_equal(lines.ends, 3);
    assert_true(lines_are_empty(&lines));
}

static void test_a_long_line_comes_in_pieces_and_loses_nothing(void **state)
{
    (void)state;
    static char text[LINES_SIZE];
    size_t total = 0;
    size_t pieces = 0;
    unsigned whole = 0;
    struct line_piece piece = {.continues = false};
    lines_reset(&lines, &head);
    for (int round = 0; round < 160; round++) {
        size_t size = LINES_READ - LINES_READ % 3;
        for (size_t i = 0; i < size; i += 3) {
            memcpy(text + i, "\xE2\x82\xAC", 3); /* the euro sign, which no cut may split */
        }
        feed(text, size);
        while (lines_next(&lines, LINES_WHOLE, &piece)) {
            assert_true(piece.continues && piece.text.size % 3 == 0 && piece.text.size > LINES_MOST - 4);
            total += piece.text.size;
            pieces++;
        }
        assert_in_range(lines.size - lines.begin, 0, LINES_MOST);
    }
    feed("\nnext\n", 6);
    while (lines_next(&lines, LINES_WHOLE, &piece)) {
        whole += !piece.continues;
        pieces++;
    }
    assert_true(total > 30 * (64 << 10) && pieces > 200);
    assert_int_equal(whole, 2);
    assert_memory_equal(piece.text.data, "next", 4);
}

static void test_there_is_always_room_again(void **state)
{
    (void)state;
    size_t room = 0;
    char *target = NULL;
    lines_reset(&lines, &head);
    while (lines.size < LINES_SIZE) {
        target = lines_room(&lines, &room);
        memset(target, 'x', room);
        lines_add(&lines, room, 1);
    }
    memcpy(target + room - 4, &head, 4); /* it ends with what may be a mark */
    struct line_piece piece;
    size_t given = 0;
    while (lines_next(&lines, LINES_WHOLE, &piece)) {
        given++;
    }
    (void)lines_room(&lines, &room);
    assert_true(given > 0 && room > 0);
}

/* Nothing that a function writes into the pipe leads out of the arrays: also not whole heads, which it may know. */
static void test_forged_marks(void **state)
{
    (void)state;
    unsigned seed = 1;
    for (int round = 0; round < 3000; round++) {
        char text[600];
        lines_reset(&lines, &head);
        size_t size = 0;
        while (size < sizeof text - 60) {
            seed = seed * 1103515245 + 12345;
            size_t length = seed >> 16 & 15;
            if ((seed >> 24 & 3) == 0) {
                memcpy(text + size, &head, sizeof head);
                size += sizeof head;
            }
            for (size_t i = 0; i < length; i++) {
                seed = seed * 1103515245 + 12345;
                text[size++] = (char)(seed >> 16);
            }
        }
        feed(text, size);
        struct line_piece piece;
        for (enum lines_share share = LINES_MARKED; share <= LINES_LAST; share++) {
            while (lines_next(&lines, share, &piece)) {
                assert_true(piece.text.data >= lines.bytes && piece.text.data + piece.text.size <= lines.bytes + size);
                assert_true(!piece.is_known || piece.request.id.size <= LOG_NAME_MAX);
            }
        }
        assert_true(lines_are_empty(&lines));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_ends_are_counted),
        cmocka_unit_test(test_a_long_line_comes_in_pieces_and_loses_nothing),
        cmocka_unit_test(test_there_is_always_room_again),
        cmocka_unit_test(test_forged_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
