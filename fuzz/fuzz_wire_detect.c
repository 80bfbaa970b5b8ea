/* detect: what it says agrees with the parsers. A frame of a size that is allowed is framed, what can begin a JSON
 * value is bare JSON, and a request that the HTTP parser takes whole, with a method in capitals, is HTTP. */
#include "wire/detect.h"
#include "wire/framed.h"
#include "wire/http1_request.h"
#include "json/scan.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void expect(enum protocol found, enum protocol expected)
{
    if (found != expected) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    enum protocol found = detect(PROTOCOL_AUTO, data[0]);
    struct view body;
    struct error err;
    if (size >= FRAMED_PREFIX_SIZE) {
        bool allowed = framed_feed(DETECT_AUTO_LIMIT, data, size, &body, &err) != WIRE_BAD;
        if (allowed != (found == PROTOCOL_FRAMED)) {
            abort();
        }
    }
    struct scan scan = scan_make();
    size_t end;
    if (scan_feed(&scan, data, 1, &end) != SCAN_BAD) {
        expect(found, PROTOCOL_RAW);
    }
    struct http1_request request = http1_request_make(1000);
    struct http1_error http_err;
    if (http1_request_feed(&request, data, size, &http_err) == WIRE_DONE && request.method != HTTP1_OTHER &&
        data[0] != '\r') {
        expect(found, PROTOCOL_HTTP);
    }
    return 0;
}
