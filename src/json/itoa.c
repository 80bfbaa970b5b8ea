#include "json/itoa.h"

enum { EIGHT_DIGITS = 100000000 };

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
