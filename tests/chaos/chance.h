/* A chain of choices that a seed repeats. */
#ifndef ASYA_CHAOS_CHANCE_H
#define ASYA_CHAOS_CHANCE_H

#include <stdbool.h>
#include <stdint.h>

struct chance {
    uint64_t state; /* not 0 */
};

static inline struct chance chance_make(uint64_t seed, uint64_t index)
{
    return (struct chance){((seed + 1) * UINT64_C(0x9E3779B97F4A7C15) + index * 7919) | 1};
}

/* A number from 0 to `end` - 1. */
static inline unsigned chance_below(struct chance *chance, unsigned end)
{
    chance->state ^= chance->state << 13;
    chance->state ^= chance->state >> 7;
    chance->state ^= chance->state << 17;
    return (unsigned)((chance->state * UINT64_C(0x2545F4914F6CDD1D) >> 32) % end); /* xorshift64*: Vigna 2016 */
}

static inline bool chance_one_in(struct chance *chance, unsigned count) { return chance_below(chance, count) == 0; }

#endif
