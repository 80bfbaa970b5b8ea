#include "codec/keycache.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct keycache keycache;

_Static_assert(KEYCACHE_ENTRIES <= UINT16_MAX && KEYCACHE_KEY_MAX <= UINT16_MAX, "a place and a size fit");

static uint64_t seed[2];
static unsigned interned_count;

static inline uint64_t keycache_mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t keycache_load64(const unsigned char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint64_t keycache_load32(const unsigned char *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Every byte goes in, some twice; nothing outside of the key is read. */
static inline uint64_t keycache_hash_of(const unsigned char *at, size_t size)
{
    uint64_t state = seed[0] ^ size, first, last;
    if (size >= 8) {
        for (size_t done = 0; done + 16 < size; done += 16) {
            state = keycache_mix(keycache_load64(at + done) ^ state, keycache_load64(at + done + 8) ^ seed[1]);
        }
        first = keycache_load64(at + (size > 16 ? size - 16 : 0));
        last = keycache_load64(at + size - 8);
    } else if (size >= 4) {
        first = keycache_load32(at);
        last = keycache_load32(at + size - 4);
    } else {
        first = size > 0 ? at[0] | (unsigned)at[size / 2] << 8 | (unsigned)at[size - 1] << 16 : 0;
        last = 0;
    }
    return keycache_mix(first ^ state, last ^ seed[1]);
}

/* Replaces the entry's key by its interned twin, which may be another object. */
static void keycache_intern(struct keycache_entry *entry)
{
    entry->interned = true;
    if (interned_count == KEYCACHE_INTERNED_MAX) {
        return;
    }
    PyObject *key = entry->key;
    Py_INCREF(key);
    PyUnicode_InternInPlace(&key);
    Py_ssize_t size;
    const char *bytes = PyUnicode_AsUTF8AndSize(key, &size);
    if (bytes == NULL) {
        PyErr_Clear();
        Py_DECREF(key);
        return;
    }
    interned_count++;
    PyObject *former = entry->key;
    entry->key = key;
    entry->bytes = bytes;
    Py_DECREF(former);
}

static PyObject *keycache_replace(struct keycache_entry *entry, uint64_t hash, const unsigned char *bytes, size_t size)
{
    PyObject *key = PyUnicode_FromStringAndSize((const char *)bytes, (Py_ssize_t)size);
    Py_ssize_t kept_size;
    const char *kept = key != NULL ? PyUnicode_AsUTF8AndSize(key, &kept_size) : NULL;
    if (kept == NULL || PyObject_Hash(key) == -1) {
        Py_XDECREF(key);
        return NULL;
    }
    PyObject *former = entry->key;
    unsigned char head[8] = {0};
    memcpy(head, bytes, size < sizeof head ? size : sizeof head);
    *entry = (struct keycache_entry){.key = key,
                                     .bytes = kept,
                                     .head = block_word(head),
                                     .size = (uint16_t)size,
                                     .check = (uint16_t)(hash >> 48),
                                     .next = entry->next};
    Py_XDECREF(former);
    Py_INCREF(key);
    return key;
}

PyObject *keycache_get(const unsigned char *bytes, size_t size)
{
    uint64_t hash = keycache_hash_of(bytes, size);
    uint16_t place = (uint16_t)(hash % KEYCACHE_ENTRIES);
    struct keycache_entry *entry = &keycache.entries[place];
    keycache.entries[keycache.last].next = place;
    keycache.last = place;
    if (entry->key == NULL || entry->check != (uint16_t)(hash >> 48) || entry->size != size ||
        memcmp(entry->bytes, bytes, size) != 0) {
        return keycache_replace(entry, hash, bytes, size);
    }
    if (__builtin_expect(!entry->interned, 0)) {
        keycache_intern(entry);
    }
    Py_INCREF(entry->key);
    return entry->key;
}

void keycache_init(void)
{
    /* getrandom came with Linux 3.17 and glibc 2.25; without it the layout of memory and the clock must do. */
    if (syscall(SYS_getrandom, seed, sizeof seed, 1 /* GRND_NONBLOCK */) != (long)sizeof seed) {
        struct timespec now = {0};
        clock_gettime(CLOCK_REALTIME, &now);
        seed[0] = keycache_mix((uint64_t)(uintptr_t)&now, (uint64_t)now.tv_nsec | 1);
        seed[1] = keycache_mix((uint64_t)(uintptr_t)PyUnicode_New, (uint64_t)now.tv_sec);
    }
    seed[1] |= 1;
}
