/*
 * Another opinion on what is JSON: a small strict parser that shares no code with the product, to judge its output.
 */
#ifndef ASYA_TESTS_JSON_CHECK_H
#define ASYA_TESTS_JSON_CHECK_H

#include <stdbool.h>
#include <stddef.h>

/* Well-formed UTF-8, without surrogates and overlong forms. */
bool utf8_check(const void *bytes, size_t size);

/* One RFC 8259 value in well-formed UTF-8, with nothing but white space around it. */
bool json_check(const void *bytes, size_t size);

/* Whether the document is an object with the string member `key`; its value is decoded into `value`, NUL-terminated,
 * with `*ret_size` bytes (a lone surrogate counts as not found). */
bool json_check_member(const void *bytes, size_t size, const char *key, char *value, size_t value_size,
                       size_t *ret_size);

#endif
