/* What a parser of this layer says after each piece of input. */
#ifndef ASYA_WIRE_STEP_H
#define ASYA_WIRE_STEP_H

enum wire_step {
    WIRE_MORE, /* read on */
    WIRE_DONE, /* the request is complete */
    WIRE_BAD,  /* it never will be; the error says why */
};

#endif
