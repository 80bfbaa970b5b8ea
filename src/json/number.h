/*
 * JSON numbers: text to integer or double (RFC 8259, section 6). Pure, no allocation, independent of the locale.
 *
 * Doubles are correctly rounded (ties to even) by W. Clinger's fast path and by Eisel-Lemire; the few texts with more
 * than 19 significant digits that these cannot decide are handed back as NUMBER_UNDECIDED.
 */
#ifndef ASYA_JSON_NUMBER_H
#define ASYA_JSON_NUMBER_H

#include <stdint.h>

enum number_kind {
    NUMBER_BAD,       /* no number */
    NUMBER_SIGNED,    /* an integer, in `integer` ("-0" is 0) */
    NUMBER_UNSIGNED,  /* an integer above INT64_MAX, in `natural` */
    NUMBER_BIG,       /* an integer outside both; its digits are the text */
    NUMBER_DOUBLE,    /* in `real`; too large gives infinity, too small zero, both with their sign */
    NUMBER_UNDECIDED, /* a double; convert the text of number_condense with a correctly rounded function */
};

struct number {
    enum number_kind kind;
    union {
        int64_t integer;
        uint64_t natural;
        double real;
    };
};

/* Digits beyond these cannot move a double but for being zero or not (the longest midpoint has 767). */
enum { NUMBER_DIGITS_MAX = 770, NUMBER_CONDENSED_SIZE = NUMBER_DIGITS_MAX + 32 };

/* Rewrites a number that number_parse (json/number_inline.h) called UNDECIDED, [at, end), as a text that rounds to the
 * same double whatever the original's length: "-digitsEexponent" with a NUL, at most NUMBER_CONDENSED_SIZE bytes with
 * it. */
void number_condense(const unsigned char *at, const unsigned char *end, char *ret_text);

#endif
