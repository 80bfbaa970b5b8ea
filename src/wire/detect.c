#include "wire/detect.h"

enum wire_protocol detect(enum wire_choice choice, unsigned char first)
{
    switch (choice) {
    case WIRE_CHOICE_RAW:
        return WIRE_RAW;
    case WIRE_CHOICE_FRAMED:
        return WIRE_FRAMED;
    case WIRE_CHOICE_HTTP:
        return WIRE_HTTP;
    case WIRE_CHOICE_AUTO:
        break;
    }
    if (first >= 'A' && first <= 'Z') {
        return WIRE_HTTP;
    }
    return first <= DETECT_AUTO_LIMIT >> 24 ? WIRE_FRAMED : WIRE_RAW;
}
