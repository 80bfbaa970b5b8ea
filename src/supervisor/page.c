#include "supervisor/page.h"

#include "json/dtoa.h"
#include "json/utf8.h"

#include <stdio.h>
#include <string.h>

enum { NUMBER_SIZE = 64 };

static void page_put(struct page *page, const char *bytes, size_t size)
{
    page->is_full = page->is_full || buffer_append(page->out, bytes, size) != BUFFER_OK;
}

static void page_text(struct page *page, const char *text) { page_put(page, text, strlen(text)); }

/* What stands for the character at `at`, of `*size` bytes; NULL: itself. */
static const char *page_escape_of(const char *at, const char *end, bool is_label, size_t *size)
{
    size_t length = utf8_sequence((const unsigned char *)at, (const unsigned char *)end);
    *size = length > 0 ? length : 1;
    if (*at == '\\') {
        return "\\\\";
    }
    if (*at == '\n') {
        return "\\n";
    }
    if (*at == '"' && is_label) {
        return "\\\"";
    }
    return length == 0 || (unsigned char)*at < ' ' ? "_" : NULL;
}

/* Escapes what a label's value or a help text must not hold. */
static void page_escape(struct page *page, struct view text, bool is_label)
{
    const char *end = text.data + text.size;
    const char *done = text.data;
    size_t size;
    for (const char *at = done; at < end; at += size) {
        const char *escape = page_escape_of(at, end, is_label, &size);
        if (escape != NULL) {
            page_put(page, done, (size_t)(at - done));
            page_text(page, escape);
            done = at + size;
        }
    }
    page_put(page, done, (size_t)(end - done));
}

void page_family(struct page *page, const char *name, enum page_type type, const char *help)
{
    static const char *const types[] = {
        [PAGE_COUNTER] = "counter", [PAGE_GAUGE] = "gauge", [PAGE_HISTOGRAM] = "histogram"};
    static const char total[] = "_total";
    size_t size = strlen(name);
    if (page->is_open && type == PAGE_COUNTER && size > sizeof total &&
        strcmp(name + size - (sizeof total - 1), total) == 0) {
        size -= sizeof total - 1;
    }
    page_text(page, "# HELP ");
    page_put(page, name, size);
    page_text(page, " ");
    page_escape(page, view_of(help), page->is_open);
    page_text(page, "\n# TYPE ");
    page_put(page, name, size);
    page_text(page, " ");
    page_text(page, types[type]);
    page_text(page, "\n");
}

void page_sample(struct page *page, const char *name, const char *suffix)
{
    page_text(page, name);
    page_text(page, suffix);
    page->has_labels = false;
}

void page_label(struct page *page, const char *name, struct view value)
{
    if (name == NULL) {
        return;
    }
    page_text(page, page->has_labels ? "," : "{");
    page->has_labels = true;
    page_text(page, name);
    page_text(page, "=\"");
    page_escape(page, value, true);
    page_text(page, "\"");
}

static void page_value(struct page *page, const char *value, size_t size)
{
    page_text(page, page->has_labels ? "} " : " ");
    page_put(page, value, size);
    page_text(page, "\n");
}

void page_count(struct page *page, uint64_t value)
{
    char text[NUMBER_SIZE];
    page_value(page, text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)value));
}

void page_seconds(struct page *page, uint64_t span)
{
    char text[NUMBER_SIZE];
    uint64_t second = UINT64_C(1000000000);
    page_value(page, text,
               (size_t)snprintf(text, sizeof text, "%llu.%09llu", (unsigned long long)(span / second),
                                (unsigned long long)(span % second)));
}

static size_t page_write_double(char text[NUMBER_SIZE], double value)
{
    const char *word = value != value ? "NaN" : value - value != 0 ? (value > 0 ? "+Inf" : "-Inf") : NULL;
    if (word != NULL) {
        memcpy(text, word, strlen(word));
        return strlen(word);
    }
    return (size_t)(dtoa((unsigned char *)text, value) - (unsigned char *)text);
}

void page_limit(struct page *page, double bound)
{
    char text[NUMBER_SIZE];
    page_label(page, "le", (struct view){text, page_write_double(text, bound)});
}

void page_bound(struct page *page, uint64_t bound)
{
    page_limit(page, bound != UINT64_MAX ? (double)bound / 1e9 : __builtin_inf());
}

void page_double(struct page *page, double value)
{
    char text[NUMBER_SIZE];
    page_value(page, text, page_write_double(text, value));
}

void page_end(struct page *page)
{
    if (page->is_open) {
        page_text(page, "# EOF\n");
    }
}
