/*
 * dotpath: the paths of the yield protocol, and the texts of their errors (docs/protocol.md). Every row runs
 * flush against a page that faults.
 */
#include "descriptors.h"
#include "guard.h"

#include "wire/dotpath.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct path_row {
    const char *name;
    enum dotpath_verb verb;
    const char *path;
    const char *steps; /* as `describe` writes them, or NULL */
    const char *type;  /* of the exception, and its text */
    const char *text;
};

#define GET(name, path, steps)                                                                                         \
    {                                                                                                                  \
        name, DOTPATH_GET, path, steps, NULL, NULL                                                                     \
    }
#define SET(name, path, steps)                                                                                         \
    {                                                                                                                  \
        name, DOTPATH_SET, path, steps, NULL, NULL                                                                     \
    }
#define DEL(name, path, steps)                                                                                         \
    {                                                                                                                  \
        name, DOTPATH_DEL, path, steps, NULL, NULL                                                                     \
    }
#define BAD(name, path, text)                                                                                          \
    {                                                                                                                  \
        name, DOTPATH_GET, path, NULL, "ValueError", text                                                              \
    }
#define REFUSED(name, verb, path, type, text)                                                                          \
    {                                                                                                                  \
        name, DOTPATH_##verb, path, NULL, type, text                                                                   \
    }

static const struct path_row path_rows[] = {
    GET("a name", ".id", "id"),
    GET("a name with an underscore", ".parent_id", "parent_id"),
    GET("a name below a name", ".route.prev", "route|prev"),
    GET("a name with digits and a hyphen", ".headers.x-request-id_2", "headers|x-request-id_2"),
    GET("a name of one letter", ".a", "a"),
    GET("names of the first and last letters", ".a.z.A.Z.azAZ09", "a|z|A|Z|azAZ09"),
    GET("a name that begins with an underscore", "._a", "_a"),
    GET("what only walking can find missing", ".payload.Z", "payload|Z"),
    GET("a key in quotes", ".headers[\"x y\"]", "headers|x y"),
    GET("a key with brackets and dots", ".headers[\"a].b[\"]", "headers|a].b["),
    GET("a key that looks like a number", ".headers[\"0\"]", "headers|0"),
    GET("a key of other letters",
        ".headers[\"gr\xC3\xB6\xC3\x9F"
        "e\"]",
        "headers|gr\xC3\xB6\xC3\x9F"
        "e"),
    GET("a key at the very beginning", ".[\"headers\"].a", "headers|a"),
    GET("an index", ".route.prev[0]", "route|prev|#0"),
    GET("an index from the end", ".route.prev[-1]", "route|prev|#-1"),
    GET("two indices", ".status[1][22]", "status|#1|#22"),
    GET("an index with leading zeros", ".status[007]", "status|#7"),
    GET("the largest index of 64 bits", ".a[9223372036854775807]", "a|#9223372036854775807"),
    GET("an index beyond 64 bits is the largest", ".a[9223372036854775808]", "a|#9223372036854775807"),
    GET("an index of very many digits is the largest", ".a[99999999999999999999999]", "a|#9223372036854775807"),
    GET("the smallest index of 64 bits", ".a[-9223372036854775808]", "a|#-9223372036854775808"),
    GET("an index below 64 bits is the smallest", ".a[-99999999999999999999999]", "a|#-9223372036854775808"),
    GET("a name behind an index", ".status[0].a", "status|#0|a"),
    GET("as many steps as there may be", ".a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a",
        "a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a|a"),
    SET("what may be written", ".route.next", "route|next"),
    SET("what lies below", ".headers.a.b", "headers|a|b"),
    SET("a key below", ".status[\"a b\"]", "status|a b"),
    SET("an index below", ".route.next[0]", "route|next|#0"),
    SET("a slice at the end", ".route.next[1:2]", "route|next|1:2"),
    SET("a slice to the end", ".route.next[1:]", "route|next|1:"),
    SET("a slice from the start", ".route.next[:2]", "route|next|:2"),
    SET("a slice of all", ".route.next[:]", "route|next|:"),
    SET("a slice from the end", ".route.next[-2:-1]", "route|next|-2:-1"),
    SET("a slice beyond 64 bits", ".route.next[99999999999999999999:]", "route|next|9223372036854775807:"),
    DEL("what may be removed", ".headers.a", "headers|a"),
    DEL("a whole one", ".status", "status"),
    DEL("an index", ".route.next[-1]", "route|next|#-1"),

    BAD("nothing", "", "Path must start with '.': "),
    BAD("a name without a dot", "id", "Path must start with '.': id"),
    BAD("a bracket without a dot", "[\"id\"]", "Path must start with '.': [\"id\"]"),
    BAD("a space before the dot", " .id", "Path must start with '.':  .id"),
    BAD("a dot alone", ".", "Empty path: ."),
    BAD("two dots", "..id", "Invalid path: ..id"),
    BAD("a dot at the end", ".id.", "Invalid path: .id."),
    BAD("a name that begins with a digit", ".0", "Invalid path: .0"),
    BAD("a name that begins with the byte before the letters", ".@", "Invalid path: .@"),
    BAD("a name that begins with the byte behind the letters", ".{", "Invalid path: .{"),
    BAD("a name that begins with a hyphen", ".-a", "Invalid path: .-a"),
    BAD("a space at the end", ".id ", "Invalid path: .id "),
    BAD("a name with another letter", ".gr\xC3\xB6", "Invalid path: .gr\xC3\xB6"),
    BAD("a dot before a bracket that is not the first", ".a.[0]", "Invalid path: .a.[0]"),
    BAD("an open bracket", ".a[", "Invalid path: .a["),
    BAD("an open index", ".a[0", "Invalid path: .a[0"),
    BAD("an empty bracket", ".a[]", "Invalid path: .a[]"),
    BAD("a sign alone", ".a[-]", "Invalid path: .a[-]"),
    BAD("a plus sign", ".a[+1]", "Invalid path: .a[+1]"),
    BAD("a space in a bracket", ".a[ 0]", "Invalid path: .a[ 0]"),
    BAD("a name in a bracket", ".a[b]", "Invalid path: .a[b]"),
    BAD("a key in single quotes", ".a['b']", "Invalid path: .a['b']"),
    BAD("an empty key", ".a[\"\"]", "Invalid path: .a[\"\"]"),
    BAD("an open key", ".a[\"b", "Invalid path: .a[\"b"),
    BAD("a key without its bracket", ".a[\"b\"", "Invalid path: .a[\"b\""),
    BAD("a key with something behind it", ".a[\"b\"c]", "Invalid path: .a[\"b\"c]"),
    BAD("a slice with a step", ".a[0:1:2]", "Invalid path: .a[0:1:2]"),
    BAD("a slice with a sign alone", ".a[0:-]", "Invalid path: .a[0:-]"),
    BAD("a name right behind a bracket", ".a[0]b", "Invalid path: .a[0]b"),
    BAD("one step too many", ".a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.b",
        "Path has more than 32 steps: .a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.b"),
    BAD("a slice in GET", ".route.next[0:1]", "Slice not valid for GET"),
    REFUSED("a slice in DEL", DEL, ".route.next[0:1]", "ValueError", "Slice not valid for DEL"),
    REFUSED("a slice before the end", SET, ".route.next[0:1].a", "ValueError",
            "Slice only valid as terminal SET segment"),
    REFUSED("SET of what is not to be written", SET, ".id", "PermissionError", "Cannot SET .id"),
    REFUSED("SET of a part of the route", SET, ".route.prev", "PermissionError", "Cannot SET .route.prev"),
    REFUSED("SET of the whole route", SET, ".route", "PermissionError", "Cannot SET .route"),
    REFUSED("SET of what only begins like it", SET, ".headersX", "PermissionError", "Cannot SET .headersX"),
    REFUSED("SET of the same in brackets", SET, ".[\"headers\"]", "PermissionError", "Cannot SET .[\"headers\"]"),
    REFUSED("SET without a dot", SET, "headers", "PermissionError", "Cannot SET headers"),
    REFUSED("DEL of what is not to be removed", DEL, ".payload", "PermissionError", "Cannot DEL .payload"),
    REFUSED("DEL of nothing", DEL, "", "PermissionError", "Cannot DEL "),
    REFUSED("SET of a malformed path below", SET, ".headers[", "ValueError", "Invalid path: .headers["),
};

/* key|#index|start:stop */
static void describe(const struct dotpath *path, char *text, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < path->count; i++) {
        const struct dotpath_step *step = &path->steps[i];
        used += (size_t)snprintf(text + used, size - used, "%s", i > 0 ? "|" : "");
        if (step->kind == DOTPATH_KEY) {
            used += (size_t)snprintf(text + used, size - used, "%.*s", (int)step->key.size, step->key.data);
            continue;
        }
        if (step->kind == DOTPATH_INDEX || step->has_start) {
            used += (size_t)snprintf(text + used, size - used, "%s%lld", step->kind == DOTPATH_INDEX ? "#" : "",
                                     (long long)step->index);
        }
        if (step->kind == DOTPATH_SLICE) {
            used += (size_t)snprintf(text + used, size - used, ":");
            if (step->has_stop) {
                used += (size_t)snprintf(text + used, size - used, "%lld", (long long)step->stop);
            }
        }
    }
}

static void check(const struct path_row *row)
{
    char steps[512] = "";
    struct guard text = guard_copy(row->path, strlen(row->path));
    struct dotpath path = {0};
    struct error err = {0};
    bool parsed = dotpath_parse(row->verb, (struct view){(const char *)text.data, text.size}, &path, &err);
    if (parsed != (row->steps != NULL)) {
        fail_msg("%s: %s", row->name, parsed ? "not refused" : err.text);
    }
    if (parsed) {
        describe(&path, steps, sizeof steps);
        if (strcmp(steps, row->steps) != 0) {
            fail_msg("%s: %s", row->name, steps);
        }
    } else if (strcmp(err.type, row->type) != 0 || strcmp(err.text, row->text) != 0 || err.category != ERR_PROCESSING ||
               path.count != 0) {
        fail_msg("%s: %s: %s", row->name, err.type, err.text);
    }
    guard_free(&text);
}

static void paths_are_read_as_the_contract_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof path_rows / sizeof path_rows[0]; i++) {
        check(&path_rows[i]);
    }
}

static void an_error_of_a_very_long_path_is_cut(void **state)
{
    (void)state;
    struct guard text = guard_make(100000);
    memset(text.data, 'a', text.size);
    struct dotpath path;
    struct error err;
    struct view view = {(const char *)text.data, text.size};
    assert_false(dotpath_parse(DOTPATH_GET, view, &path, &err));
    assert_int_equal(strlen(err.text), ERROR_TEXT_SIZE - 1);
    assert_false(dotpath_parse(DOTPATH_SET, view, &path, &err));
    assert_int_equal(strlen(err.text), ERROR_TEXT_SIZE - 1);
    guard_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(paths_are_read_as_the_contract_says),
        DESCRIPTOR_TEST(an_error_of_a_very_long_path_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
