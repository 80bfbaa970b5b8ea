#include "base/marks.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MARK_FIRST = 0x1E /* "record separator": texts do not have it */ };

struct mark_head mark_head_make(void)
{
    struct mark_head head;
    if (syscall(SYS_getrandom, &head, sizeof head, 1 /* GRND_NONBLOCK */) != (long)sizeof head) {
        uint64_t now[] = {clock_now(), (uint64_t)(uintptr_t)&head}; /* before Linux 3.17 */
        memcpy(&head, now, sizeof head);
    }
    head.bytes[0] = MARK_FIRST;
    return head;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* Where the head of a mark begins, whole or cut off by the end of the text; `text.size` if nowhere. */
static size_t mark_begins(const struct mark_head *head, struct view text)
{
    const char *found = memmem(text.data, text.size, head, sizeof *head);
    size_t at = found != NULL ? (size_t)(found - text.data) : text.size > sizeof *head ? text.size - sizeof *head : 0;
    while (found == NULL && at < text.size && memcmp(text.data + at, head, text.size - at) != 0) {
        at++;
    }
    return at;
}

bool mark_find(const struct mark_head *head, struct view text, struct mark *ret_mark)
{
    size_t at = mark_begins(head, text);
    if (at == text.size) {
        return false;
    }
    *ret_mark = (struct mark){.at = at};
    const unsigned char *next = (const unsigned char *)text.data + at + sizeof *head;
    size_t size = sizeof *head + 3;
    if (text.size - at < size) {
        return true;
    }
    bool is_ours = next[1] <= LOG_NAME_MAX && next[2] <= LOG_NAME_MAX; /* else the function has written it */
    size_t id = is_ours ? next[1] : 0;
    size_t trace = is_ours ? next[2] : 0;
    size += id + trace;
    if (text.size - at >= size) {
        const char *names = (const char *)next + 3;
        ret_mark->kind = (enum mark_kind)next[0];
        ret_mark->size = size;
        ret_mark->request = (struct log_request){.id = {names, id}, .traceparent = {names + id, trace}};
    }
    return true;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static struct mark_head own_head;
static struct mark_counts *own_counts; /* NULL: nothing is captured */
static bool has_ends;
static struct stream {
    int pipe;
    struct file_identity identity;
    uint64_t marked; /* bytes of marks that were written to it */
    uint64_t seen;   /* bytes that others had, when last looked at */
} streams[MARK_STREAMS];

void marks_begin(const struct mark_head *head, const int pipes[MARK_STREAMS], struct mark_counts *counts, bool ends)
{
    own_head = *head;
    own_counts = counts;
    has_ends = ends;
    for (size_t i = 0; i < MARK_STREAMS; i++) {
        streams[i] = (struct stream){.pipe = pipes[i]};
        (void)fd_stat(pipes[i], &streams[i].identity);
    }
}

bool marks_are_on(void) { return own_counts != NULL; }

bool marks_are_pairs(void) { return own_counts != NULL && !has_ends; }

/* Whether anything but marks has come into the pipe since the last call. True as well while the supervisor reads, since
 * its count is not right then. */
static bool stream_has_text(struct stream *stream, struct mark_counts *counts)
{
    int waiting = 0;
    uint64_t before = atomic_load_explicit(&counts->taken, memory_order_acquire);
    bool is_known = syscall(SYS_ioctl, stream->pipe, FIONREAD, &waiting) == 0;
    atomic_thread_fence(memory_order_acquire);
    uint64_t after = atomic_load_explicit(&counts->taken, memory_order_relaxed);
    if (!is_known || before != after || (before & 1) != 0) {
        return is_known;
    }
    uint64_t text = before / 2 + (uint64_t)waiting - stream->marked;
    bool has_more = text != stream->seen;
    stream->seen = text;
    return has_more;
}

static void stream_write(struct stream *stream, const char *bytes, size_t size)
{
    struct file_identity found;
    ssize_t written = -1;
    if (fd_stat(stream->pipe, &found) == 0 && file_identity_equal(&found, &stream->identity)) {
        do { /* a full pipe: the supervisor reads it */
            written = write(stream->pipe, bytes, size);
        } while (written < 0 && errno == EINTR);
    }
    if (written < 0) {
        stream->pipe = -1; /* the function has closed it */
        return;
    }
    stream->marked += size;
}

static size_t mark_add_name(char *target, struct view name, char *ret_size)
{
    size_t size = text_cut(name.data, name.size, LOG_NAME_MAX);
    memcpy(target, size > 0 ? name.data : "", size);
    *ret_size = (char)size;
    return size;
}

size_t marks_make(const struct log_request *request, char target[MARK_SIZE_MAX])
{
    char *next = target + MARK_HEAD_SIZE;
    memcpy(target, &own_head, MARK_HEAD_SIZE);
    next[0] = has_ends ? MARK_END : MARK_ASIDE;
    size_t size = mark_add_name(next + 3, request->id, &next[1]);
    size += mark_add_name(next + 3 + size, request->traceparent, &next[2]);
    return MARK_HEAD_SIZE + 3 + size;
}

void marks_end(const struct log_request *request)
{
    char mark[MARK_SIZE_MAX];
    size_t size = 0;
    for (size_t i = 0; i < MARK_STREAMS && has_ends; i++) {
        if (!stream_has_text(&streams[i], &own_counts[i])) {
            continue;
        }
        size = size > 0 ? size : marks_make(request, mark);
        stream_write(&streams[i], mark, size);
        atomic_fetch_add_explicit(&own_counts[i].written, 1, memory_order_release);
    }
}
