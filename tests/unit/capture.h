/* What the code under test writes to standard error, for as long as it is captured. One capture at a time. */
#ifndef ASYA_TESTS_CAPTURE_H
#define ASYA_TESTS_CAPTURE_H

/* From here on standard error goes to memory. */
void capture_begin(void);

/* Back to where it was. Returns what was written, NUL-terminated, in memory that the next capture_end reuses. */
const char *capture_end(void);

/* Ends a capture that a failing test has left, if there is one, and shows what was in it. */
void capture_give_up(void);

/* How often `part` stands in `text`. */
unsigned capture_count(const char *text, const char *part);

#endif
