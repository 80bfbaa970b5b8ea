/*
 * Doubles and floats as decimal text: the shortest digits that read back as the same double, of these the nearest, laid
 * out as CPython's float.__repr__ (and so json.dumps) does: "1.0", "0.0001", "1e-05", "1.5e+16". Pure, no allocation.
 */
#ifndef ASYA_JSON_DTOA_H
#define ASYA_JSON_DTOA_H

enum { DTOA_SIZE = 48 }; /* bytes that must be writable at `out`; at most 24 of them are text */

/* Writes `value`, which must be finite, without a NUL; returns the place behind the text. May scribble over the rest of
 * the DTOA_SIZE bytes. */
unsigned char *dtoa(unsigned char *out, double value);

/* The same for a float: the shortest digits that read back as the same float, seven or eight of them mostly where as a
 * double it would have seventeen. They read back as another double. */
unsigned char *dtoa_float(unsigned char *out, float value);

#endif
