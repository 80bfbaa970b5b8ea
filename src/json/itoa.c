#include "json/itoa.h"

enum { EIGHT_DIGITS = 100000000 };

uint32_t itoa_threes[1000];

__attribute__((constructor)) static void itoa_make(void)
{
    for (uint32_t n = 0; n < 1000; n++) {
        uint32_t zeros = n < 10 ? 16 : n < 100 ? 8 : 0;
        itoa_threes[n] = 0x303030 | n / 100 | n / 10 % 10 << 8 | n % 10 << 16 | zeros << 24;
    }
}

unsigned char *itoa_long(unsigned char *out, uint64_t n)
{
    uint64_t high = n / EIGHT_DIGITS;
    uint32_t low = (uint32_t)(n - high * EIGHT_DIGITS);
    if (high < 10) { /* nine digits are common: identifiers, seconds and milliseconds */
        *out++ = (unsigned char)('0' + high);
    } else if (high < EIGHT_DIGITS) {
        out = itoa_short(out, (uint32_t)high);
    } else {
        uint64_t top = high / EIGHT_DIGITS;
        out = itoa_short(out, (uint32_t)top);
        itoa_store(out, itoa_eight((uint32_t)(high - top * EIGHT_DIGITS)) | ITOA_ZEROS);
        out += 8;
    }
    itoa_store(out, itoa_eight(low) | ITOA_ZEROS);
    return out + 8;
}
