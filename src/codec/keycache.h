/*
 * Keys of JSON objects come again and again: one str object for each, with its hash already computed.
 *
 * A table of fixed size, one place for each hash, where the newer key displaces the older: at most KEYCACHE_ENTRIES
 * keys of KEYCACHE_KEY_MAX bytes are kept alive. The hash is seeded at random, so nobody outside can aim at a place. A
 * key that is seen again is interned (found by identity in the user's code), but no more than KEYCACHE_INTERNED_MAX in
 * a process's life: some CPython versions never let go of an interned string.
 *
 * Needs the GIL. One per process; lives as long as it.
 */
#ifndef ASYA_CODEC_KEYCACHE_H
#define ASYA_CODEC_KEYCACHE_H

#include "codec/pyabi.h"

enum { KEYCACHE_ENTRIES = 2048, KEYCACHE_KEY_MAX = 64, KEYCACHE_INTERNED_MAX = 8192 };

/* Draws the seed. Called once, before the others. */
void keycache_init(void);

/* The key of `size` bytes (0 to KEYCACHE_KEY_MAX) of valid UTF-8. New reference, or NULL with MemoryError set. */
PyObject *keycache_get(const unsigned char *bytes, size_t size);

#endif
