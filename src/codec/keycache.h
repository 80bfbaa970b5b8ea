/*
 * Keys of JSON objects come again and again: one str object for each, with its hash already computed.
 *
 * A table of fixed size, one place for each hash, where the newer key displaces the older: at most KEYCACHE_ENTRIES
 * keys of KEYCACHE_KEY_MAX bytes are kept alive. The hash is seeded at random, so nobody outside can aim at a place. A
 * key that is seen again is interned (found by identity in the user's code), but no more than KEYCACHE_INTERNED_MAX in
 * a process's life: some CPython versions never let go of an interned string.
 *
 * Objects of one kind have their keys in one order, so each key remembers which came after it the last time: that one
 * is compared with the text before anything is searched or hashed (an eighth of the time of decoding records).
 *
 * Needs the GIL. One per process; lives as long as it.
 */
#ifndef ASYA_CODEC_KEYCACHE_H
#define ASYA_CODEC_KEYCACHE_H

#include "codec/pyabi.h"
#include "json/block.h"

enum { KEYCACHE_ENTRIES = 2048, KEYCACHE_KEY_MAX = 64, KEYCACHE_INTERNED_MAX = 8192 };

struct keycache_entry {
    PyObject *key;     /* owned; NULL in an empty place */
    const char *bytes; /* the key's UTF-8, which the key itself keeps */
    uint64_t head;     /* its first eight bytes, as block_word gives them, or fewer with zeros behind */
    uint16_t size;
    uint16_t check; /* some more bits of the hash: most mismatches end here */
    uint16_t next;  /* the place of the key that was asked for after it */
    bool interned;  /* or past the budget: nothing more to do */
};

/* Private to the functions here. */
extern struct keycache {
    struct keycache_entry entries[KEYCACHE_ENTRIES];
    uint16_t last; /* the place of the key that was asked for last */
} keycache;

/* Draws the seed. Called once, before the others. */
void keycache_init(void);

/* The key of `size` bytes (0 to KEYCACHE_KEY_MAX) of valid UTF-8. New reference, or NULL with MemoryError set. */
PyObject *keycache_get(const unsigned char *bytes, size_t size);

/* Whether the bytes from the eighth on are those of a key with more than eight. */
static inline bool keycache_same_tail(const struct keycache_entry *entry, const unsigned char *at)
{
    const unsigned char *bytes = (const unsigned char *)entry->bytes;
    size_t size = entry->size;
    for (size_t done = 8; done + 8 < size; done += 8) {
        if (block_word(at + done) != block_word(bytes + done)) {
            return false;
        }
    }
    return block_word(at + size - 8) == block_word(bytes + size - 8);
}

/* The key that is likely to stand at `at`, if it does, with a quote behind it: new reference, its length in
 * `*ret_size`. NULL if it does not, or if it cannot be told so easily. */
static inline PyObject *keycache_guess(const unsigned char *at, const unsigned char *end, size_t *ret_size)
{
    uint16_t place = keycache.entries[keycache.last].next;
    const struct keycache_entry *entry = &keycache.entries[place];
    size_t size = entry->size;
    if (!entry->interned || (size_t)(end - at) < size + 8 || at[size] != '"') {
        return NULL;
    }
    uint64_t mask = size >= 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
    if (((block_word(at) ^ entry->head) & mask) != 0 || (size > 8 && !keycache_same_tail(entry, at))) {
        return NULL;
    }
    keycache.last = place;
    *ret_size = size;
    Py_INCREF(entry->key);
    return entry->key;
}

#endif
