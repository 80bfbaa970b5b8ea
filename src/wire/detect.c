#include "wire/detect.h"

enum protocol detect(enum protocol choice, unsigned char first)
{
    if (choice != PROTOCOL_AUTO) {
        return choice;
    }
    if (first >= 'A' && first <= 'Z') {
        return PROTOCOL_HTTP;
    }
    return first <= DETECT_AUTO_LIMIT >> 24 ? PROTOCOL_FRAMED : PROTOCOL_RAW;
}
