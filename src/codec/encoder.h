/*
 * What the parts of the encoder share: the work of one call, the stack of open containers, and how it fails.
 *
 * Internal to codec/encode.c, scalar.c, frames and known.c. All functions that write take the place to write at and
 * return the place behind what they wrote, or NULL; then either `out.status` says why or an encoder_fail function was
 * called.
 */
#ifndef ASYA_CODEC_ENCODER_H
#define ASYA_CODEC_ENCODER_H

#include "base/error.h"
#include "codec/array.h"
#include "codec/output.h"
#include "codec/pyabi.h"

enum { ENCODER_DEPTH_MAX = 1000 };

/* How a container is walked; those of FORM_TUPLE and before are lists in JSON, the others objects. */
enum form {
    FORM_LIST,
    FORM_TUPLE,
    FORM_DICT,
    FORM_COPY,   /* a list of the keys and values a dict had, one after the other */
    FORM_PAIRS,  /* a list of the items of a dict subclass */
    FORM_FIELDS, /* a tuple of the names of attributes */
};

/* An open container. */
struct frame {
    PyObject *object; /* what stands in the result */
    PyObject *items;  /* what is walked, often the same */
    PyObject *key;    /* of the value being written; NULL in a list */
    Py_ssize_t at;    /* the next index; the position of PyDict_Next */
    enum form form;
    bool owned; /* the pointers are references (codec/frames.h) */
};

struct workspace {
    size_t depth;  /* open frames */
    size_t pinned; /* of these, how many are owned */
    size_t secure; /* of these, how many are no dict that others may change */
    struct frame frames[ENCODER_DEPTH_MAX];
    struct array_position position; /* of the number that failed */
};

struct encoder {
    struct output out;
    struct workspace *work;
    struct error *err;      /* category, type and text; the path is put before the text at the end */
    PyObject *raised;       /* owned; what code of an object has raised */
    bool in_array;          /* the error is about the number at work->position in an array */
    unsigned char *odd_key; /* where a key belongs that JSON has not; nothing is written there yet */
};

static inline unsigned char *encoder_room(struct encoder *e, unsigned char *at) { return output_room(&e->out, at); }

static inline unsigned char *encoder_reserve(struct encoder *e, unsigned char *at, size_t size)
{
    return output_reserve(&e->out, at, size);
}

/* All return NULL. */
void *encoder_fail(struct encoder *e, const char *type, const char *format, ...) __attribute__((format(printf, 3, 4)));
void *encoder_fail_memory(struct encoder *e);
void *encoder_fail_raised(struct encoder *e);                         /* takes the Python exception that is set */
void *encoder_fail_number(struct encoder *e, double value);           /* NaN or an infinity */
void *encoder_fail_key(struct encoder *e, PyObject *key);             /* its type is no key's */
void *encoder_fail_unknown_type(struct encoder *e, PyObject *object); /* nothing stands for it in JSON */
void *encoder_fail_deep(struct encoder *e);

/* Completes the error when the call ends: what the output says, and the path of the open containers, which must be
 * pinned. */
void encoder_explain(struct encoder *e, const char *root);

#endif
