/* number: what is accepted ends where the grammar of RFC 8259 says, and has the value of strtod or strtoll. */
#include "json/number_inline.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static size_t digits(const unsigned char *data, size_t size, size_t at)
{
    while (at < size && data[at] >= '0' && data[at] <= '9') {
        at++;
    }
    return at;
}

/* The length of the number at the start of the text, or 0; `*ret_real` if it has a point or an exponent. */
static size_t grammar(const unsigned char *data, size_t size, bool *ret_real)
{
    size_t at = size > 0 && data[0] == '-', begin = at;
    *ret_real = false;
    at = at < size && data[at] == '0' ? at + 1 : digits(data, size, at);
    if (at == begin) {
        return 0;
    }
    if (at < size && data[at] == '.') {
        begin = ++at;
        *ret_real = true;
        at = digits(data, size, at);
        if (at == begin) {
            return 0;
        }
    }
    if (at < size && (data[at] == 'e' || data[at] == 'E')) {
        at++;
        *ret_real = true;
        at += at < size && (data[at] == '+' || data[at] == '-');
        begin = at;
        at = digits(data, size, at);
        if (at == begin) {
            return 0;
        }
    }
    return at;
}

static void check(bool condition)
{
    if (!condition) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct number number;
    bool real;
    size_t length = grammar(data, size, &real);
    const unsigned char *end = number_parse(data, data + size, &number);
    check(end >= data && end <= data + size);
    check((number.kind == NUMBER_BAD) == (length == 0));
    if (length == 0) {
        return 0;
    }
    check(end == data + length && real == (number.kind == NUMBER_DOUBLE || number.kind == NUMBER_UNDECIDED));
    char *text = malloc(length + 1), condensed[NUMBER_CONDENSED_SIZE];
    memcpy(text, data, length);
    text[length] = '\0';
    errno = 0;
    if (real) {
        if (number.kind == NUMBER_UNDECIDED) {
            number_condense(data, end, condensed);
            number.real = strtod(condensed, NULL);
        }
        double expected = strtod(text, NULL);
        check(memcmp(&expected, &number.real, sizeof expected) == 0);
    } else if (number.kind == NUMBER_SIGNED) {
        check(strtoll(text, NULL, 10) == number.integer && errno == 0);
    } else if (number.kind == NUMBER_UNSIGNED) {
        check(strtoull(text, NULL, 10) == number.natural && errno == 0 && number.natural > INT64_MAX);
    } else {
        (void)strtoull(text + (data[0] == '-'), NULL, 10);
        check(errno == ERANGE || data[0] == '-');
    }
    free(text);
    return 0;
}
