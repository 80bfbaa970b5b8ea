/*
 * Writes a document in Prometheus' text format or in OpenMetrics:
 *
 *     page_family(page, "requests_total", PAGE_COUNTER, "Requests.");
 *     page_sample(page, "requests_total", "");
 *     page_label(page, "outcome", view_of("ok"));
 *     page_count(page, 7);
 *
 * What does not fit sets `is_full`. Values of labels may be anything: they are escaped, and bytes that no text has
 * become "_".
 */
#ifndef ASYA_SUPERVISOR_PAGE_H
#define ASYA_SUPERVISOR_PAGE_H

#include "base/buffer.h"
#include "base/view.h"

#include <stdbool.h>
#include <stdint.h>

enum page_type { PAGE_COUNTER, PAGE_GAUGE, PAGE_HISTOGRAM };

struct page {
    struct buffer *out; /* borrowed; bounds it */
    bool is_open;       /* OpenMetrics: there a counter's family is called without "_total" */
    bool is_full;
    bool has_labels; /* private: the sample has one already */
};

/* A family begins: its help and type. */
void page_family(struct page *page, const char *name, enum page_type type, const char *help);

/* A sample begins, called `name` with `suffix`; its labels and its value follow. A label whose name is NULL is left
 * out. page_bound: the label `le`, in ns; UINT64_MAX is infinity. page_limit: likewise, as it is. */
void page_sample(struct page *page, const char *name, const char *suffix);
void page_label(struct page *page, const char *name, struct view value);
void page_bound(struct page *page, uint64_t bound);
void page_limit(struct page *page, double bound);

/* The value, and the end of the line. */
void page_count(struct page *page, uint64_t value);
void page_seconds(struct page *page, uint64_t span); /* ns */
void page_double(struct page *page, double value);

/* The end of the document. */
void page_end(struct page *page);

#endif
