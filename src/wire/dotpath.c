#include "wire/dotpath.h"

/* The part of the path that is still to be read. */
struct rest {
    const char *at;
    const char *end;
};

static const char *const verb_names[] = {[DOTPATH_GET] = "GET", [DOTPATH_SET] = "SET", [DOTPATH_DEL] = "DEL"};

/* For "%.*s": the error would cut a longer text anyway. */
static int precision_of(struct view path) { return (int)(path.size < ERROR_TEXT_SIZE ? path.size : ERROR_TEXT_SIZE); }

static bool dotpath_refuse(const char *what, struct view path, struct error *err)
{
    return error_set_processing(err, "ValueError", "%s: %.*s", what, precision_of(path), path.data);
}

/* .route.next, .headers, .status, and paths below them. */
static bool is_writable(struct view path)
{
    static const char *const roots[] = {".route.next", ".headers", ".status"};
    for (size_t i = 0; i < sizeof roots / sizeof roots[0]; i++) {
        size_t size = strlen(roots[i]);
        if (path.size >= size && memcmp(path.data, roots[i], size) == 0 &&
            (path.size == size || path.data[size] == '.' || path.data[size] == '[')) {
            return true;
        }
    }
    return false;
}

static bool dotpath_is_digit(char byte) { return byte >= '0' && byte <= '9'; }

static bool begins_name(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_';
}

static bool take_byte(struct rest *rest, char byte)
{
    if (rest->at < rest->end && *rest->at == byte) {
        rest->at++;
        return true;
    }
    return false;
}

static bool take_name(struct rest *rest, struct dotpath_step *step)
{
    const char *start = rest->at;
    if (start == rest->end || !begins_name(*start)) {
        return false;
    }
    while (rest->at < rest->end && (begins_name(*rest->at) || dotpath_is_digit(*rest->at) || *rest->at == '-')) {
        rest->at++;
    }
    step->kind = DOTPATH_KEY;
    step->key = (struct view){start, (size_t)(rest->at - start)};
    return true;
}

/* A key and its closing quote; the opening one was read. */
static bool take_quoted(struct rest *rest, struct dotpath_step *step)
{
    const char *start = rest->at;
    const char *quote = memchr(start, '"', (size_t)(rest->end - start));
    if (quote == NULL || quote == start) {
        return false;
    }
    step->kind = DOTPATH_KEY;
    step->key = (struct view){start, (size_t)(quote - start)};
    rest->at = quote + 1;
    return true;
}

/* An optional integer. False for a sign without digits. */
static bool take_integer(struct rest *rest, int64_t *value, bool *is_there)
{
    bool negative = take_byte(rest, '-');
    const char *start = rest->at;
    int64_t number = 0;
    for (; rest->at < rest->end && dotpath_is_digit(*rest->at); rest->at++) {
        int digit = *rest->at - '0';
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, negative ? -digit : digit, &number)) {
            number = negative ? INT64_MIN : INT64_MAX; /* further digits overflow again, so it stays so */
        }
    }
    *value = number;
    *is_there = rest->at > start;
    return *is_there || !negative;
}

/* What is in brackets, and the closing one; the opening one was read. */
static bool take_bracket(struct rest *rest, struct dotpath_step *step)
{
    if (take_byte(rest, '"')) {
        return take_quoted(rest, step) && take_byte(rest, ']');
    }
    if (!take_integer(rest, &step->index, &step->has_start)) {
        return false;
    }
    step->kind = DOTPATH_INDEX;
    if (take_byte(rest, ':')) {
        step->kind = DOTPATH_SLICE;
        if (!take_integer(rest, &step->stop, &step->has_stop)) {
            return false;
        }
    }
    return (step->kind == DOTPATH_SLICE || step->has_start) && take_byte(rest, ']');
}

/* Only for the first step a bracket may follow the dot. */
static bool take_step(struct rest *rest, bool is_first, struct dotpath_step *step)
{
    *step = (struct dotpath_step){0};
    if (take_byte(rest, '.')) {
        if (is_first && take_byte(rest, '[')) {
            return take_bracket(rest, step);
        }
        return take_name(rest, step);
    }
    return take_byte(rest, '[') && take_bracket(rest, step);
}

static bool check_slices(enum dotpath_verb verb, const struct dotpath *path, struct error *err)
{
    for (size_t i = 0; i < path->count; i++) {
        if (path->steps[i].kind != DOTPATH_SLICE) {
            continue;
        }
        if (verb != DOTPATH_SET) {
            return error_set_processing(err, "ValueError", "Slice not valid for %s", verb_names[verb]);
        }
        if (i + 1 < path->count) {
            return error_set_processing(err, "ValueError", "Slice only valid as terminal SET segment");
        }
    }
    return true;
}

bool dotpath_parse(enum dotpath_verb verb, struct view text, struct dotpath *ret_path, struct error *err)
{
    if (verb != DOTPATH_GET && !is_writable(text)) {
        return error_set_processing(err, "PermissionError", "Cannot %s %.*s", verb_names[verb], precision_of(text),
                                    text.data);
    }
    if (text.size == 0 || text.data[0] != '.') {
        return dotpath_refuse("Path must start with '.'", text, err);
    }
    if (text.size == 1) {
        return dotpath_refuse("Empty path", text, err);
    }
    struct rest rest = {text.data, text.data + text.size};
    struct dotpath path = {0};
    while (rest.at < rest.end) {
        if (path.count == DOTPATH_STEPS_MAX) {
            return dotpath_refuse("Path has more than 32 steps", text, err);
        }
        if (!take_step(&rest, path.count == 0, &path.steps[path.count])) {
            return dotpath_refuse("Invalid path", text, err);
        }
        path.count++;
    }
    if (!check_slices(verb, &path, err)) {
        return false;
    }
    *ret_path = path;
    return true;
}
