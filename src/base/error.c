#include "base/error.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const codes[ERR_CATEGORIES] = {
    [ERR_NONE] = "server_error",
#define ERROR_CATEGORY(name, code) [ERR_##name] = code,
#include "base/errors.def"
#undef ERROR_CATEGORY
};

const char *error_code(enum error_category category)
{
    return (unsigned)category < ERR_CATEGORIES ? codes[category] : codes[ERR_NONE];
}

__attribute__((format(printf, 5, 0))) static void set(struct error *err, enum error_category category, size_t offset,
                                                      const char *type, const char *format, va_list arguments)
{
    err->category = category;
    err->offset = offset;
    text_copy(err->type, sizeof err->type, type);
    if (vsnprintf(err->text, sizeof err->text, format, arguments) < 0) {
        err->text[0] = '\0';
    }
    text_trim_partial(err->text);
}

bool error_set(struct error *err, enum error_category category, size_t offset, const char *format, ...)
{
    if (err != NULL) {
        va_list arguments;
        va_start(arguments, format);
        set(err, category, offset, "", format, arguments);
        va_end(arguments);
    }
    return false;
}

bool error_set_processing(struct error *err, const char *type, const char *format, ...)
{
    if (err != NULL) {
        va_list arguments;
        va_start(arguments, format);
        set(err, ERR_PROCESSING, 0, type, format, arguments);
        va_end(arguments);
    }
    return false;
}
