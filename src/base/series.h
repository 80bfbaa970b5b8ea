/*
 * The function's own metrics in memory that all workers share: counters, gauges, histograms with labels
 * (asya_runtime.metrics; docs/handlers.md).
 *
 * Each sample is one place in memory for all processes, and a change is one atomic operation. So nothing has to be
 * summed over processes, nothing is lost when a worker dies (a death in the middle of a change leaves the value before
 * or after it), and children that the function forks count like their parents. Only a gauge has a cell for each worker,
 * since the value of a dead worker is no longer true: the supervisor clears that worker's cells.
 *
 *   header -> family -> family ...      each is complete before it is linked, and never changed or removed, so the
 * lists
 *               `-> sample -> sample    can be read, without a lock, while other processes add to them
 *
 * Memory is taken from the front by an atomic addition; a process that dies between that and the link leaves a hole.
 * The function can overwrite all of it, so a reader checks each offset and limits the length of each walk.
 */
#ifndef ASYA_BASE_SERIES_H
#define ASYA_BASE_SERIES_H

#include "base/view.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SERIES_SIZE = 256 << 10,
    SERIES_BOUNDS_MAX = 64,
    SERIES_TEXT_MAX = 8192, /* bytes of a family's or a sample's texts */
};

enum series_kind { SERIES_COUNTER, SERIES_GAUGE, SERIES_HISTOGRAM, SERIES_KINDS };

/* How the workers' values of a gauge are combined. SERIES_LAST has one cell: the value that any of them set last. */
enum series_mode { SERIES_SUM, SERIES_MAX, SERIES_MIN, SERIES_LAST, SERIES_MODES };

/* A worker has set nothing: a NaN that no arithmetic makes. */
#define SERIES_UNSET UINT64_C(0x7FF8A57A6A5D3C96)

struct series {
    uint64_t magic;
    uint32_t size;
    uint32_t places;          /* cells of a gauge: one for each worker */
    _Atomic uint32_t used;    /* bytes */
    _Atomic uint32_t first;   /* offset of the first family; 0: there is none */
    _Atomic uint64_t dropped; /* changes of samples for which there was no room */
    _Atomic uint32_t warned;  /* somebody has logged that */
};

/* What makes a family. `texts`: its name, its help and the names of its labels, each with a NUL. */
struct series_spec {
    enum series_kind kind;
    enum series_mode mode;
    uint32_t labels;
    uint32_t bounds;
    const double *bound; /* of a histogram's buckets, ascending */
    struct view texts;
};

/* An empty region at `memory`, which is SERIES_SIZE zeroed bytes, aligned to 8. */
struct series *series_make(void *memory, uint32_t places);

/* Finds the family with this name, or makes it. Returns its offset, or 0: there is no room, or one of that name is
 * different. */
uint32_t series_family(struct series *series, const struct series_spec *spec);

/* Finds the sample with these values of the labels, each with a NUL, or makes it. Returns its offset, or 0. */
uint32_t series_sample(struct series *series, uint32_t family, struct view values);

/* The cells of a sample: a counter has one, a gauge one for each worker or one, a histogram one for each bucket and the
 * last bucket, which count, and one for the sum. All others are doubles. */
_Atomic uint64_t *series_cells(struct series *series, uint32_t sample);

/* Changes a cell that is a double. */
void series_add(_Atomic uint64_t *cell, double amount);
void series_set(_Atomic uint64_t *cell, double value);
double series_get(const _Atomic uint64_t *cell);

/* What worker `place` had set is gone. */
void series_clear(struct series *series, uint32_t place);

/* ---- reading: everything is checked ----------------------------------------------------------------------------- */

struct series_reader {
    enum series_kind kind;
    enum series_mode mode;
    uint32_t labels;
    uint32_t bounds;
    const double *bound;
    const char *name; /* these have their NULs in the region */
    const char *help;
    const char *label; /* the names of the labels, one after the other */
    const char *value; /* and their values, likewise */
    const _Atomic uint64_t *cells;
    uint32_t cell_count;
    /* private */
    const struct series *series;
    uint32_t family;
    uint32_t sample;
    uint32_t steps;
};

/* Steps through the families, and through the samples of each. False at the end. */
struct series_reader series_read(const struct series *series);
bool series_next_family(struct series_reader *reader);
bool series_next_sample(struct series_reader *reader);

#endif
