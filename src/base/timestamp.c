#include "base/timestamp.h"

#include "base/clock.h"

#include <stdio.h>
#include <time.h>

enum { DATE_SIZE = 19 }; /* 2026-11-29T22:11:42 */

/* `count` digits at `at`; false if they are none. */
static bool timestamp_digits(const char *at, unsigned count, unsigned *ret_value)
{
    *ret_value = 0;
    for (unsigned i = 0; i < count; i++) {
        if (at[i] < '0' || at[i] > '9') {
            return false;
        }
        *ret_value = *ret_value * 10 + (unsigned)(at[i] - '0');
    }
    return true;
}

static bool timestamp_is_leap(unsigned year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

/* Days since 1970-01-01; false if there is no such day. */
static bool timestamp_days(unsigned year, unsigned month, unsigned day, uint64_t *ret_days)
{
    static const unsigned char lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year < 1970 || year > 2200 || month < 1 || month > 12 || day < 1 ||
        day > lengths[month - 1] + (unsigned)(month == 2 && timestamp_is_leap(year))) {
        return false;
    }
    uint64_t days = day - 1;
    for (unsigned each = 1970; each < year; each++) {
        days += 365 + (unsigned)timestamp_is_leap(each);
    }
    for (unsigned each = 1; each < month; each++) {
        days += lengths[each - 1] + (unsigned)(each == 2 && timestamp_is_leap(year));
    }
    *ret_days = days;
    return true;
}

/* The fraction of a second at `*at`, if there is one; what is finer than a nanosecond is cut. */
static bool timestamp_fraction(struct view text, size_t *at, uint64_t *ret_ns)
{
    uint64_t unit = CLOCK_SECOND;
    *ret_ns = 0;
    if (*at >= text.size || text.data[*at] != '.') {
        return true;
    }
    size_t first = ++*at;
    for (; *at < text.size && text.data[*at] >= '0' && text.data[*at] <= '9'; ++*at) {
        unit /= 10;
        *ret_ns += unit * (uint64_t)(text.data[*at] - '0');
    }
    return *at > first;
}

/* Seconds east of Greenwich, to the end of the text. */
static bool timestamp_offset(struct view text, size_t at, int64_t *ret_seconds)
{
    unsigned hours;
    unsigned minutes;
    if (text.size == at + 1 && (text.data[at] == 'Z' || text.data[at] == 'z')) {
        *ret_seconds = 0;
        return true;
    }
    if (text.size != at + 6 || (text.data[at] != '+' && text.data[at] != '-') || text.data[at + 3] != ':' ||
        !timestamp_digits(text.data + at + 1, 2, &hours) || !timestamp_digits(text.data + at + 4, 2, &minutes) ||
        hours > 23 || minutes > 59) {
        return false;
    }
    int64_t seconds = (int64_t)hours * 3600 + (int64_t)minutes * 60;
    *ret_seconds = text.data[at] == '-' ? -seconds : seconds;
    return true;
}

bool timestamp_parse(struct view text, uint64_t *ret_ns)
{
    const char *data = text.data;
    unsigned year;
    unsigned month;
    unsigned day;
    unsigned hour;
    unsigned minute;
    unsigned second;
    uint64_t days;
    uint64_t fraction;
    int64_t offset;
    size_t at = DATE_SIZE;
    if (text.size < DATE_SIZE + 1 || data[4] != '-' || data[7] != '-' ||
        (data[10] != 'T' && data[10] != 't' && data[10] != ' ') || data[13] != ':' || data[16] != ':' ||
        !timestamp_digits(data, 4, &year) || !timestamp_digits(data + 5, 2, &month) ||
        !timestamp_digits(data + 8, 2, &day) || !timestamp_digits(data + 11, 2, &hour) ||
        !timestamp_digits(data + 14, 2, &minute) || !timestamp_digits(data + 17, 2, &second)) {
        return false;
    }
    if (!timestamp_days(year, month, day, &days) || hour > 23 || minute > 59 || second > 60 ||
        !timestamp_fraction(text, &at, &fraction) || !timestamp_offset(text, at, &offset)) {
        return false;
    }
    int64_t seconds = (int64_t)(days * 86400 + (uint64_t)hour * 3600 + (uint64_t)minute * 60 + second) - offset;
    if (seconds < 0) {
        return false;
    }
    *ret_ns = (uint64_t)seconds * CLOCK_SECOND + fraction;
    return true;
}

/* The year that `*days` since 1970 are in; leaves those since it began. */
static unsigned timestamp_take_years(uint64_t *days)
{
    unsigned year = 1970;
    for (unsigned length; *days >= (length = 365 + (unsigned)timestamp_is_leap(year)) && year < 2200; year++) {
        *days -= length;
    }
    return year;
}

void timestamp_write(uint64_t ns, char target[TIMESTAMP_SIZE])
{
    uint64_t last = 0;
    (void)timestamp_days(2200, 12, 31, &last);
    uint64_t days = ns / CLOCK_SECOND / 86400;
    days = days < last ? days : last;
    uint64_t second = ns / CLOCK_SECOND % 86400;
    uint64_t rest = days;
    unsigned year = timestamp_take_years(&rest);
    unsigned month = 12;
    uint64_t first = 0; /* of the month */
    while (timestamp_days(year, month, 1, &first) && first > days) {
        month--;
    }
    unsigned day = (unsigned)(days - first) % 31 + 1; /* never more than 31: the compiler is to know that, too */
    (void)snprintf(target, TIMESTAMP_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", year, month, day,
                   (unsigned)(second / 3600), (unsigned)(second / 60 % 60), (unsigned)(second % 60),
                   (unsigned)(ns % CLOCK_SECOND / CLOCK_MS));
}

uint64_t timestamp_now(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * CLOCK_SECOND + (uint64_t)now.tv_nsec;
}
