/*
 * Every test leaves the descriptors as it found them: DESCRIPTOR_TEST in place of cmocka_unit_test checks it.
 */
#ifndef ASYA_TESTS_DESCRIPTORS_H
#define ASYA_TESTS_DESCRIPTORS_H

#include <stddef.h>

/* How many descriptors this process has open. */
size_t descriptors_count(void);

/* From here to descriptors_allow() this process can open only so many more: RLIMIT_NOFILE is lowered. */
void descriptors_limit(unsigned more);
void descriptors_allow(void);

/* cmocka setup: notes which are open, and gives the test twenty seconds before SIGALRM ends the program. */
int descriptors_note(void **state);

/* cmocka teardown: fails with the names of those that appeared or went away. */
int descriptors_check(void **state);

#define DESCRIPTOR_TEST(function) cmocka_unit_test_setup_teardown(function, descriptors_note, descriptors_check)

#endif
