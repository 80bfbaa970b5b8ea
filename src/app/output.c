#include "app/output.h"

#include <errno.h>
#include <unistd.h>

bool output_write(struct view bytes)
{
    while (bytes.size > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes.data, bytes.size);
        if (written >= 0) {
            bytes.data += written;
            bytes.size -= (size_t)written;
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

void output_print(const char *text) { (void)output_write(view_of(text)); }
