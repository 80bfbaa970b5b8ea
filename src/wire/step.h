/* What a parser of wire/ returns after each piece of input. */
#ifndef ASYA_WIRE_STEP_H
#define ASYA_WIRE_STEP_H

enum wire_step {
    WIRE_MORE, /* the request is not complete: read on */
    WIRE_DONE, /* the request is complete */
    WIRE_BAD,  /* it can never be complete; the error says why */
};

#endif
