#include "app/single_file.h"

#include "base/fd.h"
#include "base/view.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

enum { READ_STEP = 1 << 16 };

int single_file_read(const char *path, struct buffer *file)
{
    FD_SCOPED int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    for (;;) {
        enum buffer_status status = buffer_reserve(file, READ_STEP);
        if (status != BUFFER_OK) {
            return status == BUFFER_LIMIT ? -EFBIG : -ENOMEM;
        }
        ssize_t got = read(fd, file->data + file->size, READ_STEP);
        if (got == 0) {
            return 0;
        }
        if (got > 0) {
            file->size += (size_t)got;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
}

bool single_file_is_whole(const struct buffer *file)
{
    static const char start[] = "#!/usr/bin/env python3\n\"\"\"Asya runtime " ASYA_VERSION ":";
    if (file->size < sizeof start || memcmp(file->data, start, sizeof start - 1) != 0 ||
        file->data[file->size - 1] != '\n' || file->data[file->size - 2] == '\n') {
        return false;
    }
    for (size_t i = 0; i < file->size; i++) {
        if (file->data[i] != '\n' && (file->data[i] < ' ' || file->data[i] > '~')) {
            return false;
        }
    }
    return true;
}

/* tools/bundle.py writes the images between these lines, each as `    "MACHINE": (` with numbers, `"""`, lines
 * of digits, `"""),`. */
static const char images_begin[] = "\n_IMAGES = {\n";
static const char image_begin[] = "    \"";
static const char image_end[] = "\n\"\"\"),\n";

/* The place after the first `text` from `from` on; NULL if there is none. */
static unsigned char *find_behind(const struct buffer *file, const unsigned char *from, const char *text)
{
    size_t rest = file->size - (size_t)(from - file->data);
    unsigned char *found = memmem(from, rest, text, strlen(text));
    return found != NULL ? found + strlen(text) : NULL;
}

static bool is_image(const struct buffer *file, const unsigned char *at)
{
    size_t rest = file->size - (size_t)(at - file->data);
    return rest > sizeof image_begin && memcmp(at, image_begin, sizeof image_begin - 1) == 0;
}

uint32_t single_file_images(const struct buffer *file)
{
    uint32_t count = 0;
    const unsigned char *at = find_behind(file, file->data, images_begin);
    while (at != NULL && is_image(file, at)) {
        count++;
        at = find_behind(file, at, image_end);
    }
    return count;
}

bool single_file_keep_image(struct buffer *file, const char *machine)
{
    bool found = false;
    size_t size = strlen(machine);
    unsigned char *at = find_behind(file, file->data, images_begin);
    if (at == NULL) {
        return false;
    }
    while (is_image(file, at)) {
        const unsigned char *name = at + sizeof image_begin - 1;
        unsigned char *next = find_behind(file, at, image_end);
        if (next == NULL) {
            return false; /* the bundle does not write such a file */
        }
        if ((size_t)(next - name) > size && memcmp(name, machine, size) == 0 && name[size] == '"') {
            found = true;
            at = next;
            continue;
        }
        memmove(at, next, file->size - (size_t)(next - file->data));
        file->size -= (size_t)(next - at);
    }
    return found;
}

/* They stand in lines that begin with these two characters, one behind the other. */
void single_file_drop_desk(struct buffer *file)
{
    static const char mark[] = "#\"";
    unsigned char *begin = find_behind(file, file->data, "\n#\"");
    if (begin == NULL) {
        return;
    }
    begin -= sizeof mark - 1;
    unsigned char *end = file->data + file->size;
    unsigned char *next = begin;
    while (end - next > (ptrdiff_t)sizeof mark && memcmp(next, mark, sizeof mark - 1) == 0) {
        unsigned char *newline = memchr(next, '\n', (size_t)(end - next));
        next = newline != NULL ? newline + 1 : end;
    }
    memmove(begin, next, (size_t)(end - next));
    file->size -= (size_t)(next - begin);
}
