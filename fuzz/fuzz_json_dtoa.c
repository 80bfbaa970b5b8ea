/* dtoa and itoa: what is written reads back as the same bits, by strtod and by our own reader, and nobody needs fewer
 * digits. */
#include "json/dtoa.h"
#include "json/itoa.h"
#include "json/number_inline.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void check(bool condition)
{
    if (!condition) {
        abort();
    }
}

static int count_digits(const char *text)
{
    int count = 0, zeros = 0;
    for (; *text != '\0' && *text != 'e'; text++) {
        bool is_digit = *text >= '0' && *text <= '9';
        zeros = *text == '0' ? zeros + (count > 0) : is_digit ? 0 : zeros;
        count += is_digit && (count > 0 || *text != '0');
    }
    return count - zeros;
}

static void check_double(double value)
{
    unsigned char *text = malloc(DTOA_SIZE);
    char copy[32], shorter[40];
    unsigned char *end = dtoa(text, value);
    size_t size = (size_t)(end - text);
    check(size >= 3 && size <= 24);
    memcpy(copy, text, size);
    copy[size] = '\0';
    double back = strtod(copy, NULL);
    check(memcmp(&back, &value, sizeof value) == 0);
    struct number number;
    check(number_parse(text, end, &number) == end && number.kind == NUMBER_DOUBLE &&
          memcmp(&number.real, &value, sizeof value) == 0);
    int digits = count_digits(copy);
    if (digits > 1) {
        (void)snprintf(shorter, sizeof shorter, "%.*e", digits - 2, value);
        check(strtod(shorter, NULL) != value);
    }
    free(text);
}

static void check_integer(uint64_t value)
{
    unsigned char *text = malloc(ITOA_SIZE);
    char expected[32];
    unsigned char *end = itoa_u64(text, value);
    (void)snprintf(expected, sizeof expected, "%" PRIu64, value);
    check((size_t)(end - text) == strlen(expected) && memcmp(text, expected, strlen(expected)) == 0);
    end = itoa_i64(text, (int64_t)value);
    (void)snprintf(expected, sizeof expected, "%" PRId64, (int64_t)value);
    check((size_t)(end - text) == strlen(expected) && memcmp(text, expected, strlen(expected)) == 0);
    free(text);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    for (; size >= 8; data += 8, size -= 8) {
        uint64_t bits;
        double value;
        memcpy(&bits, data, sizeof bits);
        memcpy(&value, data, sizeof value);
        check_integer(bits);
        check_integer(bits >> (bits & 63));
        if (__builtin_isfinite(value)) {
            check_double(value);
        }
        check_double((double)(int64_t)bits / 1e6); /* as people write them: not all digits of a double */
    }
    return 0;
}
