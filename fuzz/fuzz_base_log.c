/* log: any text is one line, bounded, without a control character, and valid JSON in that format. The line is caught
 * on its way out: backlog_add is wrapped by the linker. */
#include "json_check.h"

#include "base/backlog.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
void __wrap_backlog_add(const char *bytes, size_t size);

static enum log_format format;
static unsigned lines;

/* Characters that turn the direction of text, or cannot be seen. */
static bool is_treacherous(const unsigned char *at, size_t size)
{
    static const char *const prefixes[] = {"\xD8\x9C",     "\xE2\x80\x8E", "\xE2\x80\x8F", "\xE2\x80\xAA",
                                           "\xE2\x80\xAB", "\xE2\x80\xAC", "\xE2\x80\xAD", "\xE2\x80\xAE",
                                           "\xE2\x81\xA6", "\xE2\x81\xA7", "\xE2\x81\xA8", "\xE2\x81\xA9",
                                           "\xEF\xBB\xBF", "\xF3\xA0\x80", "\xF3\xA0\x81"};
    for (size_t i = 0; *at >= 0xD8 && i < sizeof prefixes / sizeof prefixes[0]; i++) {
        if (strlen(prefixes[i]) <= size && memcmp(at, prefixes[i], strlen(prefixes[i])) == 0) {
            return true;
        }
    }
    return false;
}

void __wrap_backlog_add(const char *bytes, size_t size)
{
    const unsigned char *line = (const unsigned char *)bytes;
    lines++;
    if (size < 1 || size > LOG_RECORD_SIZE || line[size - 1] != '\n' || !utf8_check(line, size - 1) ||
        (format == LOG_JSON && !json_check(line, size - 1))) {
        abort();
    }
    for (size_t i = 0; i + 1 < size; i++) {
        bool further = format == LOG_TEXT && line[i] == '\n' && size - i > 5 && memcmp(line + i, "\n    ", 5) == 0;
        bool control = (line[i] < 0x20 && !further) || line[i] == 0x7F || (line[i] == 0xC2 && line[i + 1] < 0xA0);
        bool separator = line[i] == 0xE2 && line[i + 1] == 0x80 && (line[i + 2] == 0xA8 || line[i + 2] == 0xA9);
        if (control || separator || is_treacherous(line + i, size - i)) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    /* short texts reach every branch but the cuts: some are repeated until they are too long */
    size_t times = data[0] < 192 ? 1 : LOG_RECORD_SIZE / size + 2;
    size_t part = size - 1;
    char *text = malloc(part * times + 1);
    for (size_t i = 0; i < times; i++) {
        memcpy(text + i * part, data + 1, part);
    }
    text[part * times] = '\0';
    format = data[0] % 2 == 0 ? LOG_TEXT : LOG_JSON;
    log_configure(LOG_LEVEL_DEBUG, format);
    lines = 0;
    log_info(EVENT_RUNTIME_ERROR, "%s", text);
    const struct log_facts facts = {
        .request = {.id = view_of(text), .traceparent = view_of(text)}, .error_type = text, .stack = text};
    log_event(LOG_LEVEL_ERROR, EVENT_REQUEST_FAILED, &facts, "%s", data[0] % 4 < 2 ? "message" : text);
    if (lines != 2) {
        abort();
    }
    free(text);
    return 0;
}
