#include "base/series.h"

#include <string.h>

#define MAGIC UINT64_C(0xA57A5E71E5000001)

struct series_family {
    _Atomic uint32_t next;  /* offset; 0: the last */
    _Atomic uint32_t first; /* of its samples */
    uint8_t kind;
    uint8_t mode;
    uint16_t labels;
    uint16_t bounds;
    uint16_t text_size;
    double bound[]; /* and behind them the texts */
};

struct series_sample {
    _Atomic uint32_t next;
    uint32_t hash;
    uint16_t cells;
    uint16_t text_size;
    uint32_t unused;
    _Atomic uint64_t cell[]; /* and behind them the texts */
};

static void *series_at(struct series *series, uint32_t offset) { return (char *)series + offset; }

static const void *series_look(const struct series *series, uint32_t offset) { return (const char *)series + offset; }

static uint32_t series_round(size_t size) { return (uint32_t)((size + 7) / 8 * 8); }

struct series *series_make(void *memory, uint32_t places)
{
    struct series *series = memory;
    *series = (struct series){
        .magic = MAGIC, .size = SERIES_SIZE, .places = places, .used = series_round(sizeof(struct series))};
    return series;
}

/* Where a sample's texts are, behind its cells. */
static const char *series_sample_texts(const struct series_sample *sample, uint32_t cells)
{
    return (const char *)sample + sizeof *sample + cells * sizeof(uint64_t);
}

/* Room for a record, zeroed; 0: none is left. Never given back. */
static uint32_t series_take(struct series *series, uint32_t size)
{
    uint32_t used = atomic_load_explicit(&series->used, memory_order_relaxed);
    while (used % 8 == 0 && used >= sizeof *series && used <= SERIES_SIZE && size <= SERIES_SIZE - used) {
        if (atomic_compare_exchange_weak_explicit(&series->used, &used, used + size, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            return used;
        }
    }
    return 0;
}

/* ---- families --------------------------------------------------------------------------------------------------- */

static char *series_family_texts(struct series_family *family) { return (char *)(family->bound + family->bounds); }

/* Whether a record of `size` bytes can be at this offset. */
static bool series_fits(uint32_t offset, size_t size)
{
    return offset >= sizeof(struct series) && offset % 8 == 0 && offset < SERIES_SIZE && size <= SERIES_SIZE - offset;
}

static bool series_family_is_sound(const struct series *series, uint32_t offset)
{
    const struct series_family *family = series_look(series, offset);
    return series_fits(offset, sizeof *family) && family->kind < SERIES_KINDS && family->mode < SERIES_MODES &&
           family->bounds <= SERIES_BOUNDS_MAX && family->text_size > 0 && family->text_size <= SERIES_TEXT_MAX &&
           series_fits(offset, sizeof *family + family->bounds * sizeof(double) + family->text_size) &&
           ((const char *)(family->bound + family->bounds))[family->text_size - 1] == '\0';
}

/* The most records there can be: bounds each walk, since the function could make a list circular. */
enum { SERIES_STEPS = SERIES_SIZE / sizeof(struct series_sample) };

static bool series_family_is(const struct series_family *family, const struct series_spec *spec)
{
    const char *texts = (const char *)(family->bound + family->bounds);
    const size_t bounds = spec->bounds * sizeof *spec->bound;
    return family->kind == spec->kind && family->mode == spec->mode && family->labels == spec->labels &&
           family->bounds == spec->bounds && family->text_size == spec->texts.size &&
           memcmp(texts, spec->texts.data, spec->texts.size) == 0 &&
           (bounds == 0 || memcmp(family->bound, spec->bound, bounds) == 0);
}

static uint32_t series_write_family(struct series *series, const struct series_spec *spec)
{
    size_t bounds = spec->bounds * sizeof *spec->bound;
    uint32_t offset = series_take(series, series_round(sizeof(struct series_family) + bounds + spec->texts.size));
    if (offset == 0) {
        return 0;
    }
    struct series_family *family = series_at(series, offset);
    family->kind = (uint8_t)spec->kind;
    family->mode = (uint8_t)spec->mode;
    family->labels = (uint16_t)spec->labels;
    family->bounds = (uint16_t)spec->bounds;
    family->text_size = (uint16_t)spec->texts.size;
    if (bounds > 0) {
        memcpy(family->bound, spec->bound, bounds);
    }
    memcpy(series_family_texts(family), spec->texts.data, spec->texts.size);
    return offset;
}

uint32_t series_family(struct series *series, const struct series_spec *spec)
{
    _Atomic uint32_t *link = &series->first;
    uint32_t fresh = 0;
    if (spec->texts.size > SERIES_TEXT_MAX || spec->bounds > SERIES_BOUNDS_MAX) {
        return 0;
    }
    for (uint32_t steps = 0; steps < SERIES_STEPS; steps++) {
        uint32_t offset = atomic_load_explicit(link, memory_order_acquire);
        if (offset == 0) {
            fresh = fresh != 0 ? fresh : series_write_family(series, spec);
            if (fresh == 0 || atomic_compare_exchange_strong_explicit(link, &offset, fresh, memory_order_release,
                                                                      memory_order_acquire)) {
                return fresh;
            }
        }
        if (!series_family_is_sound(series, offset)) {
            return 0;
        }
        struct series_family *family = series_at(series, offset);
        if (strcmp(series_family_texts(family), spec->texts.data) == 0) {
            return series_family_is(family, spec) ? offset : 0;
        }
        link = &family->next;
    }
    return 0;
}

/* ---- samples ---------------------------------------------------------------------------------------------------- */

static uint32_t series_hash(struct view text)
{
    uint32_t hash = 2166136261; /* FNV-1a */
    for (size_t i = 0; i < text.size; i++) {
        hash = (hash ^ (unsigned char)text.data[i]) * 16777619;
    }
    return hash;
}

static uint32_t series_count_cells(const struct series *series, const struct series_family *family)
{
    switch (family->kind) {
    case SERIES_HISTOGRAM:
        return family->bounds + 2U;
    case SERIES_GAUGE:
        return family->mode == SERIES_LAST ? 1 : series->places;
    default:
        return 1;
    }
}

static bool series_sample_is_sound(const struct series *series, uint32_t offset, uint32_t cells)
{
    const struct series_sample *sample = series_look(series, offset);
    return series_fits(offset, sizeof *sample) && sample->cells == cells && sample->text_size <= SERIES_TEXT_MAX &&
           series_fits(offset, sizeof *sample + cells * sizeof(uint64_t) + sample->text_size) &&
           (sample->text_size == 0 || series_sample_texts(sample, cells)[sample->text_size - 1] == '\0');
}

static uint32_t series_write_sample(struct series *series, const struct series_family *family, struct view values)
{
    uint32_t cells = series_count_cells(series, family);
    uint32_t offset =
        series_take(series, series_round(sizeof(struct series_sample) + cells * sizeof(uint64_t) + values.size));
    if (offset == 0) {
        return 0;
    }
    struct series_sample *sample = series_at(series, offset);
    sample->hash = series_hash(values);
    sample->cells = (uint16_t)cells;
    sample->text_size = (uint16_t)values.size;
    for (uint32_t i = 0; family->kind == SERIES_GAUGE && i < cells; i++) {
        sample->cell[i] = SERIES_UNSET;
    }
    if (values.size > 0) {
        memcpy((char *)sample + (series_sample_texts(sample, cells) - (const char *)sample), values.data, values.size);
    }
    return offset;
}

uint32_t series_sample(struct series *series, uint32_t family_offset, struct view values)
{
    if (!series_family_is_sound(series, family_offset) || values.size > SERIES_TEXT_MAX) {
        return 0;
    }
    struct series_family *family = series_at(series, family_offset);
    uint32_t cells = series_count_cells(series, family);
    uint32_t hash = series_hash(values);
    _Atomic uint32_t *link = &family->first;
    uint32_t fresh = 0;
    for (uint32_t steps = 0; steps < SERIES_STEPS; steps++) {
        uint32_t offset = atomic_load_explicit(link, memory_order_acquire);
        if (offset == 0) {
            fresh = fresh != 0 ? fresh : series_write_sample(series, family, values);
            if (fresh == 0 || atomic_compare_exchange_strong_explicit(link, &offset, fresh, memory_order_release,
                                                                      memory_order_acquire)) {
                return fresh;
            }
        }
        if (!series_sample_is_sound(series, offset, cells)) {
            return 0;
        }
        struct series_sample *sample = series_at(series, offset);
        if (sample->hash == hash && sample->text_size == values.size &&
            memcmp(series_sample_texts(sample, cells), values.data, values.size) == 0) {
            return offset;
        }
        link = &sample->next;
    }
    return 0;
}

_Atomic uint64_t *series_cells(struct series *series, uint32_t sample)
{
    return ((struct series_sample *)series_at(series, sample))->cell;
}

/* ---- cells ------------------------------------------------------------------------------------------------------ */

static double series_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return bits != SERIES_UNSET ? value : 0;
}

static uint64_t series_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits != SERIES_UNSET ? bits : SERIES_UNSET + 1; /* another NaN */
}

void series_add(_Atomic uint64_t *cell, double amount)
{
    uint64_t before = atomic_load_explicit(cell, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(cell, &before, series_bits(series_double(before) + amount),
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

void series_set(_Atomic uint64_t *cell, double value)
{
    atomic_store_explicit(cell, series_bits(value), memory_order_relaxed);
}

double series_get(const _Atomic uint64_t *cell)
{
    return series_double(atomic_load_explicit(cell, memory_order_relaxed));
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

struct series_reader series_read(const struct series *series) { return (struct series_reader){.series = series}; }

static bool series_skip_text(const char **text, const char *end)
{
    const char *stop = memchr(*text, '\0', (size_t)(end - *text));
    *text = stop != NULL ? stop + 1 : end;
    return stop != NULL;
}

/* Whether there are `count` texts from here on. */
static bool series_has_texts(const char *text, const char *end, uint32_t count)
{
    bool has = true;
    for (uint32_t i = 0; i < count && has; i++) {
        has = series_skip_text(&text, end);
    }
    return has;
}

bool series_next_family(struct series_reader *reader)
{
    const struct series *series = reader->series;
    const struct series_family *family = reader->family != 0 ? series_look(series, reader->family) : NULL;
    uint32_t offset = atomic_load_explicit(family != NULL ? &family->next : &series->first, memory_order_acquire);
    if (offset == 0 || reader->steps++ >= SERIES_STEPS || !series_family_is_sound(series, offset)) {
        return false;
    }
    family = series_look(series, offset);
    const char *text = (const char *)(family->bound + family->bounds);
    const char *end = text + family->text_size;
    reader->family = offset;
    reader->sample = 0;
    reader->kind = (enum series_kind)family->kind;
    reader->mode = (enum series_mode)family->mode;
    reader->labels = family->labels;
    reader->bounds = family->bounds;
    reader->bound = family->bound;
    reader->cell_count = series_count_cells(series, family);
    reader->name = text;
    reader->help = series_skip_text(&text, end) ? text : end - 1;
    reader->label = series_skip_text(&text, end) ? text : end - 1;
    return series_has_texts(reader->name, end, 2 + family->labels);
}

bool series_next_sample(struct series_reader *reader)
{
    const struct series *series = reader->series;
    const struct series_family *family = series_look(series, reader->family);
    const struct series_sample *sample = reader->sample != 0 ? series_look(series, reader->sample) : NULL;
    uint32_t offset = atomic_load_explicit(sample != NULL ? &sample->next : &family->first, memory_order_acquire);
    if (offset == 0 || reader->steps++ >= SERIES_STEPS || !series_sample_is_sound(series, offset, reader->cell_count)) {
        return false;
    }
    sample = series_look(series, offset);
    reader->sample = offset;
    reader->cells = sample->cell;
    reader->value = series_sample_texts(sample, reader->cell_count);
    return series_has_texts(reader->value, reader->value + sample->text_size, reader->labels);
}

void series_clear(struct series *series, uint32_t place)
{
    struct series_reader reader = series_read(series);
    while (place < series->places && series_next_family(&reader)) {
        while (reader.kind == SERIES_GAUGE && reader.mode != SERIES_LAST && series_next_sample(&reader)) {
            atomic_store_explicit(&series_cells(series, reader.sample)[place], SERIES_UNSET, memory_order_relaxed);
        }
    }
}
