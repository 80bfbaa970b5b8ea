/* A borrowed run of bytes: not NUL-terminated, not owned. The function that returns it says how long it is valid. */
#ifndef ASYA_BASE_VIEW_H
#define ASYA_BASE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct view {
    const char *data;
    size_t size;
};

/* The bytes of a NUL-terminated string, without the NUL. Borrows `text`. */
static inline struct view view_of(const char *text) { return (struct view){text, strlen(text)}; }

/* Are they the bytes of `text`? */
static inline bool view_is(struct view view, const char *text)
{
    return view.size == strlen(text) && memcmp(view.data, text, view.size) == 0;
}

#endif
