/* error: the published codes, and texts that are cut to fit but never inside a character. */
#include "descriptors.h"
#include "json_check.h"

#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct code_row {
    enum error_category category;
    const char *code;
};

static const struct code_row code_rows[] = {
    {ERR_VALIDATION, "validation_error"}, {ERR_PROCESSING, "processing_error"}, {ERR_TOO_LARGE, "message_too_large"},
    {ERR_EMPTY, "empty_message"},         {ERR_ENCODING, "invalid_encoding"},   {ERR_JSON, "invalid_json"},
    {ERR_CONNECTION, "connection_error"}, {ERR_SERVER, "server_error"},         {ERR_MEMORY, "out_of_memory"},
};

static void the_nine_categories_have_their_published_codes(void **state)
{
    (void)state;
    assert_int_equal(ERR_CATEGORIES, 10);
    for (size_t i = 0; i < sizeof code_rows / sizeof code_rows[0]; i++) {
        assert_string_equal(error_code(code_rows[i].category), code_rows[i].code);
    }
}

static void what_is_no_category_is_a_server_error(void **state)
{
    (void)state;
    assert_string_equal(error_code(ERR_NONE), "server_error");
    assert_string_equal(error_code(ERR_CATEGORIES), "server_error");
    assert_string_equal(error_code((enum error_category)1000), "server_error");
    assert_string_equal(error_code((enum error_category) - 1), "server_error");
}

static void setting_fills_every_field_and_says_false(void **state)
{
    (void)state;
    struct error err;
    memset(&err, 0xA5, sizeof err);
    assert_false(error_set(&err, ERR_JSON, 17, "%s at byte %d", "stray comma", 17));
    assert_int_equal(err.category, ERR_JSON);
    assert_int_equal(err.offset, 17);
    assert_string_equal(err.text, "stray comma at byte 17");
    assert_string_equal(err.type, "");
    assert_false(error_set_processing(&err, "pkg.Failure", "%d%%", 5));
    assert_int_equal(err.category, ERR_PROCESSING);
    assert_int_equal(err.offset, 0);
    assert_string_equal(err.text, "5%");
    assert_string_equal(err.type, "pkg.Failure");
}

static void nobody_to_tell_is_no_failure(void **state)
{
    (void)state;
    assert_false(error_set(NULL, ERR_JSON, 0, "%s", "text"));
    assert_false(error_set_processing(NULL, "Type", "%s", "text"));
}

/* Text and type of every length around their arrays' ends, made of characters of one size behind an offset. */
static void long_texts_are_cut_between_characters(void **state)
{
    (void)state;
    static const char *const characters[] = {"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    char text[ERROR_TEXT_SIZE * 2];
    for (size_t kind = 0; kind < 4; kind++) {
        for (size_t offset = 0; offset < 4; offset++) {
            size_t size = offset;
            memset(text, 'x', offset);
            while (size + 5 < sizeof text) {
                memcpy(text + size, characters[kind], kind + 1);
                size += kind + 1;
            }
            text[size] = '\0';
            struct error err;
            error_set_processing(&err, text, "%s", text);
            size_t length = strlen(err.text);
            assert_true(utf8_check(err.text, length));
            assert_in_range(length, ERROR_TEXT_SIZE - 4, ERROR_TEXT_SIZE - 1);
            assert_memory_equal(err.text, text, length);
            length = strlen(err.type);
            assert_true(utf8_check(err.type, length));
            assert_in_range(length, ERROR_TYPE_SIZE - 4, ERROR_TYPE_SIZE - 1);
            assert_memory_equal(err.type, text, length);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(the_nine_categories_have_their_published_codes),
        DESCRIPTOR_TEST(what_is_no_category_is_a_server_error),
        DESCRIPTOR_TEST(setting_fills_every_field_and_says_false),
        DESCRIPTOR_TEST(nobody_to_tell_is_no_failure),
        DESCRIPTOR_TEST(long_texts_are_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
