#include "json/pow10.h"

struct pow10 pow10_table[POW10_LAST - POW10_FIRST + 1];

/* A significand of 192 bits, least significant word first, the highest bit set. */
struct wide {
    uint64_t word[3];
};

/* 192 bits of 10^POW10_FIRST, cut off; tests/unit/test_json_pow10.c would notice a wrong one. */
static const struct wide smallest = {{0xdfbc7e99bdd50e9bu, 0x113faa2906a13b3fu, 0xeef453d6923bd65au}};
static const struct wide one = {{0, 0, UINT64_C(1) << 63}};

/* Times five (ten, but for the exponent), cut off to 192 bits again. */
static void times_five(struct wide *number)
{
    uint64_t *word = number->word;
    unsigned __int128 carry = 0;
    for (int i = 0; i < 3; i++) {
        carry += (unsigned __int128)word[i] * 5;
        word[i] = (uint64_t)carry;
        carry >>= 64;
    }
    int shift = carry < 4 ? 2 : 3; /* the carry is 2, 3 or 4 */
    word[0] = word[0] >> shift | word[1] << (64 - shift);
    word[1] = word[1] >> shift | word[2] << (64 - shift);
    word[2] = word[2] >> shift | (uint64_t)carry << (64 - shift);
}

static void fill(int first, int last, struct wide power)
{
    for (int k = first; k <= last; k++) {
        pow10_table[k - POW10_FIRST] = (struct pow10){.high = power.word[2], .low = power.word[1]};
        times_five(&power);
    }
}

/*
 * Each step cuts off less than one unit of the lowest word, so 342 of them leave 128 bits right unless a power's lowest
 * word is within some hundred units of its end; none is. From one upwards nothing is cut off as long as powers are
 * exact.
 */
__attribute__((constructor)) static void pow10_make(void)
{
    fill(POW10_FIRST, -1, smallest);
    fill(0, POW10_LAST, one);
}
