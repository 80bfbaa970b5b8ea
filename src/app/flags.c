#include "app/flags.h"

#include "base/options.h"
#include "base/unknown.h"
#include "base/view.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NEAR_FLAG = 3, PREFIX = sizeof "ASYA_" - 1 };

/* The letter that stands in a flag for one of a variable's name. */
static char flags_letter(char c) { return c == '_' ? '-' : c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/* ASYA_LOG_LEVEL -> --log-level */
static void flags_name(const char *variable, char target[UNKNOWN_NAME_MAX + 1])
{
    size_t used = 0;
    target[used++] = '-';
    target[used++] = '-';
    for (const char *c = variable + PREFIX; *c != '\0' && used < UNKNOWN_NAME_MAX; c++) {
        target[used++] = flags_letter(*c);
    }
    target[used] = '\0';
}

/* The row whose flag are the first `size` bytes of `argument`. */
static bool flags_find(const char *argument, size_t size, struct option_row *ret_row)
{
    char name[UNKNOWN_NAME_MAX + 1];
    struct view flag = {argument, size};
    if (view_is(flag, "--record")) { /* what people type, not what the folder's variable is called */
        flag = view_of("--record-dir");
    }
    for (size_t i = 0; options_row(i, ret_row); i++) {
        flags_name(ret_row->name, name);
        if (view_is(flag, name)) {
            return true;
        }
    }
    return false;
}

void flags_nearest(const char *argument, char *target, size_t size)
{
    char flag[UNKNOWN_NAME_MAX + 1];
    char name[UNKNOWN_NAME_MAX + 1];
    size_t length = strcspn(argument, "=");
    size_t nearest = NEAR_FLAG + 1;
    struct option_row row;
    target[0] = '\0';
    if (length >= sizeof flag || length < NEAR_FLAG + 2) { /* "--" and a few letters are near to anything short */
        return;
    }
    memcpy(flag, argument, length);
    flag[length] = '\0';
    for (size_t i = 0; options_row(i, &row); i++) {
        flags_name(row.name, name);
        size_t distance = unknown_distance(flag, name);
        if (distance < nearest) {
            nearest = distance;
            (void)snprintf(target, size, "%s", name);
        }
    }
}

static bool flags_refuse(const char *argument, struct error *err)
{
    char nearest[UNKNOWN_NAME_MAX + 1];
    flags_nearest(argument, nearest, sizeof nearest);
    int shown = (int)strcspn(argument, "=");
    return error_set(
        err, ERR_SERVER, 0,
        "unknown argument '%.*s'%s%s%s; usage: asya_runtime.py [COMMAND] [--SETTING VALUE], listed by --help",
        shown < UNKNOWN_NAME_MAX ? shown : UNKNOWN_NAME_MAX, argument, nearest[0] != '\0' ? ": did you mean " : "",
        nearest, nearest[0] != '\0' ? "?" : "");
}

static bool flags_set(const char *name, const char *value, struct error *err)
{
    return setenv(name, value, 1) == 0 || error_set(err, ERR_MEMORY, 0, "no memory for %s", name);
}

bool flags_take(int count, const char *const *arguments, bool takes_handler, struct error *err)
{
    for (int i = 0; i < count; i++) {
        const char *argument = arguments[i];
        size_t size = strcspn(argument, "=");
        struct option_row row;
        if (argument[0] != '-' && argument[0] != '\0' && takes_handler) {
            takes_handler = false;
            if (!flags_set("ASYA_PROCESS_MODULE", argument, err)) {
                return false;
            }
            continue;
        }
        if (!flags_find(argument, size, &row)) {
            return flags_refuse(argument, err);
        }
        const char *value = argument[size] == '=' ? argument + size + 1 : NULL;
        if (value == NULL && i + 1 < count && (!row.is_switch || arguments[i + 1][0] != '-')) {
            value = arguments[++i];
        } else if (value == NULL && row.is_switch) {
            value = "true";
        }
        if (value == NULL) {
            return error_set(err, ERR_SERVER, 0, "%s needs a value: %s", argument, row.help);
        }
        if (!flags_set(row.name, value, err)) {
            return false;
        }
    }
    return true;
}
