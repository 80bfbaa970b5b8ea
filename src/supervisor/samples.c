#include "supervisor/samples.h"

#include <string.h>

/* Also glue/metrics.py checks this, with words for people. */
static bool samples_is_name(const char *text, bool is_metric)
{
    bool is_name = text[0] != '\0' && !(text[0] >= '0' && text[0] <= '9');
    for (; *text != '\0' && is_name; text++) {
        char lower = (char)(*text | 0x20);
        is_name = (lower >= 'a' && lower <= 'z') || (*text >= '0' && *text <= '9') || *text == '_' ||
                  (*text == ':' && is_metric);
    }
    return is_name;
}

static bool samples_are_names(const struct series_reader *reader)
{
    const char *label = reader->label;
    bool are = samples_is_name(reader->name, true);
    for (uint32_t i = 0; i < reader->labels && are; i++) {
        are = samples_is_name(label, false);
        label += strlen(label) + 1;
    }
    return are;
}

/* A line begins: its name and the labels of its sample. */
static void samples_begin(struct page *page, const struct series_reader *reader, const char *suffix)
{
    const char *label = reader->label;
    const char *value = reader->value;
    page_sample(page, reader->name, suffix);
    for (uint32_t i = 0; i < reader->labels; i++) {
        page_label(page, label, view_of(value));
        label += strlen(label) + 1;
        value += strlen(value) + 1;
    }
}

static void samples_write_histogram(struct page *page, const struct series_reader *reader)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i <= reader->bounds; i++) {
        count += atomic_load_explicit(&reader->cells[i], memory_order_relaxed);
        samples_begin(page, reader, "_bucket");
        page_limit(page, i < reader->bounds ? reader->bound[i] : __builtin_inf());
        page_count(page, count);
    }
    samples_begin(page, reader, "_sum");
    page_double(page, series_get(&reader->cells[reader->bounds + 1]));
    samples_begin(page, reader, "_count");
    page_count(page, count);
}

/* What a gauge is over all workers that have set it. False if none has, and that is not 0. */
static bool samples_join(const struct series_reader *reader, double *ret_value)
{
    double joined = 0;
    bool any = false;
    for (uint32_t i = 0; i < reader->cell_count; i++) {
        if (atomic_load_explicit(&reader->cells[i], memory_order_relaxed) == SERIES_UNSET) {
            continue;
        }
        double value = series_get(&reader->cells[i]);
        bool is_first = !any;
        any = true;
        if (reader->mode == SERIES_SUM) {
            joined += value;
        } else if (is_first || (reader->mode == SERIES_MIN ? value < joined : value > joined)) {
            joined = value;
        }
    }
    *ret_value = joined;
    return any || reader->mode == SERIES_SUM;
}

static void samples_write_one(struct page *page, const struct series_reader *reader)
{
    double value;
    if (reader->kind == SERIES_HISTOGRAM) {
        samples_write_histogram(page, reader);
    } else if (reader->kind == SERIES_COUNTER) {
        samples_begin(page, reader, "");
        page_double(page, series_get(&reader->cells[0]));
    } else if (samples_join(reader, &value)) {
        samples_begin(page, reader, "");
        page_double(page, value);
    }
}

void samples_write(struct page *page, const struct series *series)
{
    static const enum page_type types[SERIES_KINDS] = {
        [SERIES_COUNTER] = PAGE_COUNTER, [SERIES_GAUGE] = PAGE_GAUGE, [SERIES_HISTOGRAM] = PAGE_HISTOGRAM};
    static const char dropped[] = "asya_runtime_user_metrics_dropped_total";
    page_family(page, dropped, PAGE_COUNTER, "Changes of the function's own metrics for which there was no room.");
    page_sample(page, dropped, "");
    page_count(page, atomic_load_explicit(&series->dropped, memory_order_relaxed));
    struct series_reader reader = series_read(series);
    while (series_next_family(&reader) && !page->is_full) {
        if (!samples_are_names(&reader)) {
            continue;
        }
        page_family(page, reader.name, types[reader.kind],
                    reader.help[0] != '\0' ? reader.help : "The function's own.");
        while (series_next_sample(&reader)) {
            samples_write_one(page, &reader);
        }
    }
}
