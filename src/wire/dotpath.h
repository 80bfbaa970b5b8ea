/*
 * The paths of GET, SET and DEL in the yield protocol (docs/protocol.md), as steps. Pure, no allocation.
 *
 *     path  = ( name / "." bracket ) *( name / bracket )
 *     name  = "." letter-or-underscore *( letter / digit / "_" / "-" )
 *     bracket = '["' 1*(any character but '"') '"]'  /  "[" int "]"  /  "[" [int] ":" [int] "]"
 *
 * Whether a path names something that exists is the caller's to find out (KeyError, IndexError).
 */
#ifndef ASYA_WIRE_DOTPATH_H
#define ASYA_WIRE_DOTPATH_H

#include "base/error.h"
#include "base/view.h"

#include <stdbool.h>
#include <stdint.h>

enum { DOTPATH_STEPS_MAX = 32 }; /* a longer path is refused */

enum dotpath_verb { DOTPATH_GET, DOTPATH_SET, DOTPATH_DEL };

enum dotpath_kind { DOTPATH_KEY, DOTPATH_INDEX, DOTPATH_SLICE };

struct dotpath_step {
    enum dotpath_kind kind;
    struct view key; /* borrows the path; never empty */
    /* An integer beyond 64 bits becomes the nearest that fits: no list is that long. */
    int64_t index; /* DOTPATH_INDEX; DOTPATH_SLICE: its start */
    int64_t stop;  /* DOTPATH_SLICE */
    bool has_start;
    bool has_stop;
};

struct dotpath {
    size_t count; /* at least 1 */
    struct dotpath_step steps[DOTPATH_STEPS_MAX];
};

/* Reads `text`, UTF-8. Returns false with ERR_PROCESSING, whose type is the class of the exception to throw:
 *   PermissionError  SET or DEL of what is not .route.next, .headers or .status (looked at first)
 *   ValueError       the path is malformed or has too many steps, or a slice stands elsewhere than last in a SET */
bool dotpath_parse(enum dotpath_verb verb, struct view text, struct dotpath *ret_path, struct error *err);

#endif
