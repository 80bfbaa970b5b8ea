#include "json/scan.h"
enum scan_step scan_feed(struct scan *scan, const unsigned char *bytes, size_t size, size_t *ret_end)
{
    (void)scan;
    (void)bytes;
    (void)size;
    (void)ret_end;
    return SCAN_MORE;
}
bool scan_is_blank(const struct scan *scan) { return scan->state == 0; }
