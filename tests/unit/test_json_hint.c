/* hint: what somebody meant who wrote Python, JavaScript or a typing error instead of JSON. */
#include "json/hint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct hint_row {
    const char *text;
    size_t at;
    const char *word; /* in the hint; NULL: there is none */
} hint_rows[] = {
    {"[1,2,]", 5, "no comma before a closing bracket"},
    {"{\"a\":1, \n}", 9, "no comma before a closing bracket"},
    {"[1}", 2, NULL},
    {"]", 0, NULL},
    {"{'a':1}", 1, "double quotes"},
    {"[None]", 1, "null for None"},
    {"[True]", 1, "true for True"},
    {"[False]", 1, "false for False"},
    {"[NaN]", 1, "no NaN"},
    {"[nan]", 2, "no NaN"}, /* the reader has begun to read null */
    {"[Infinity]", 1, "no Infinity"},
    {"[undefined]", 1, "no undefined"},
    {"hello", 0, "double quotes"},
    {"[nul]", 4, NULL},
    {"[1, // one\n2]", 4, "no comments"},
    {"# x", 0, "no comments"},
    {"[+1]", 1, "plus sign"},
    {"[.5]", 1, "digit before its point"},
    {"[01]", 2, "leading zero"},
    {"[0x10]", 2, "decimal"},
    {"[1_000]", 2, "decimal"},
    {"[5px]", 2, "decimal"},
    {"{1:2}", 1, "a key stands in double quotes"},
    {"{\"a\":1, [2]:3}", 8, "a key stands in double quotes"},
    {"[1 2]", 3, "a comma or a colon is missing"},
    {"[\"a\" \"b\"]", 5, "a comma or a colon is missing"},
    {"[true [1]]", 6, "a comma or a colon is missing"},
    {"{\"a\"=1}", 4, "colon"},
    {"(1,2)", 0, "square brackets"},
    {"[1,2", 4, NULL},
    {"", 0, NULL},
    {"\xff", 0, NULL},
};

/* Each text in a block of its own size: nothing beside it is read. */
static void each_mistake_has_its_hint(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hint_rows / sizeof hint_rows[0]; i++) {
        const struct hint_row *row = &hint_rows[i];
        size_t size = strlen(row->text);
        unsigned char *text = malloc(size + (size == 0));
        assert_non_null(text);
        memcpy(text, row->text, size);
        const char *hint = hint_for(text, size, row->at);
        if (row->word == NULL ? hint != NULL : hint == NULL || strstr(hint, row->word) == NULL) {
            fail_msg("%s: %s", row->text, hint != NULL ? hint : "none");
        }
        free(text);
    }
}

/* Whatever the text and the place. */
static void no_byte_beside_the_text_is_read(void **state)
{
    (void)state;
    static const char bytes[] = "0a,]}\"'[ N/";
    for (size_t first = 0; first < sizeof bytes - 1; first++) {
        for (size_t second = 0; second < sizeof bytes - 1; second++) {
            unsigned char *text = malloc(2);
            assert_non_null(text);
            text[0] = (unsigned char)bytes[first];
            text[1] = (unsigned char)bytes[second];
            for (size_t at = 0; at <= 3; at++) {
                (void)hint_for(text, 2, at);
            }
            free(text);
        }
    }
}

static void the_unexpected_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t at;
        const char *says;
    } unexpected[] = {
        {"abc", 0, "unexpected 'a' at byte 0: strings"},
        {"[1;", 2, "unexpected ';' at byte 2"},
        {"[\x01", 1, "unexpected byte 0x01 at byte 1"},
        {"\xEF\xBB\xBF{}", 0, "unexpected byte order mark at byte 0"},
        {"\xEF\xBB", 0, "unexpected byte 0xef at byte 0"},
    };
    for (size_t i = 0; i < sizeof unexpected / sizeof unexpected[0]; i++) {
        struct error err;
        hint_unexpected(&err, (const unsigned char *)unexpected[i].text, strlen(unexpected[i].text), unexpected[i].at);
        assert_int_equal(err.category, ERR_JSON);
        assert_int_equal(strncmp(err.text, unexpected[i].says, strlen(unexpected[i].says)), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mistake_has_its_hint),
        cmocka_unit_test(no_byte_beside_the_text_is_read),
        cmocka_unit_test(the_unexpected_is_named),
    };
    return cmocka_run_group_tests_name("hint", tests, NULL, NULL);
}
