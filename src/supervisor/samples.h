/* The function's own metrics (base/series.h) as part of the document. The function can write over their memory: what is
 * not a name is left out, and every other text is escaped. */
#ifndef ASYA_SUPERVISOR_SAMPLES_H
#define ASYA_SUPERVISOR_SAMPLES_H

#include "base/series.h"
#include "supervisor/page.h"

void samples_write(struct page *page, const struct series *series);

#endif
