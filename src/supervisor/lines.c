#include "supervisor/lines.h"

#include "base/clock.h"
#include "base/text.h"

void lines_reset(struct lines *lines, const struct mark_head *head)
{
    lines->head = *head;
    lines->since = CLOCK_NEVER;
    lines->ends = lines->begin = lines->size = lines->looked = 0;
    lines->has_mark = lines->is_inside = false;
}

char *lines_room(struct lines *lines, size_t *ret_size)
{
    memmove(lines->bytes, lines->bytes + lines->begin, lines->size - lines->begin);
    lines->size -= lines->begin;
    lines->begin = lines->looked = 0;
    lines->has_mark = false; /* found again: it has moved */
    *ret_size = sizeof lines->bytes - lines->size;
    *ret_size = *ret_size < LINES_READ ? *ret_size : LINES_READ;
    return lines->bytes + lines->size;
}

void lines_add(struct lines *lines, size_t size, uint64_t now)
{
    lines->since = lines_are_empty(lines) ? now : lines->since;
    lines->size += size;
}

static void lines_look(struct lines *lines)
{
    if (lines->has_mark || lines->looked == lines->size) {
        return;
    }
    size_t from = lines->begin;
    lines->has_mark = mark_find(&lines->head, (struct view){lines->bytes + from, lines->size - from}, &lines->mark);
    lines->mark.at += from;
    lines->looked = lines->size;
}

static void lines_pass_mark(struct lines *lines)
{
    lines->ends++;
    lines->begin = lines->looked = lines->mark.at + lines->mark.size;
    lines->is_inside = lines->is_inside && lines->mark.kind != MARK_END;
    lines->has_mark = false;
}

/* What a terminal shows of a line in the end: without carriage returns at its end, what stands behind the last one. */
static struct view lines_shown(struct view text)
{
    if (memchr(text.data, '\r', text.size) == NULL) {
        return text;
    }
    while (text.size > 0 && text.data[text.size - 1] == '\r') {
        text.size--;
    }
    size_t begin = text.size;
    while (begin > 0 && text.data[begin - 1] != '\r') {
        begin--;
    }
    return (struct view){text.data + begin, text.size - begin};
}

/* Takes a piece from text that ends at `limit`. `is_end`: the line ends there, too. False: not yet. */
static bool lines_cut(struct lines *lines, size_t limit, bool is_end, bool so_far, struct line_piece *piece)
{
    const char *text = lines->bytes + lines->begin;
    size_t left = limit - lines->begin;
    const char *newline = memchr(text, '\n', left);
    size_t size = newline != NULL ? (size_t)(newline - text) : left;
    bool is_cut = size > LINES_MOST;
    if (newline == NULL && !is_cut && !is_end && !so_far) {
        return false;
    }
    size = is_cut ? text_cut(text, left, LINES_MOST) : size;
    piece->text = lines_shown((struct view){text, size});
    piece->continues = is_cut || (newline == NULL && !is_end);
    lines->begin += size + (newline != NULL && !is_cut);
    lines->is_inside = newline == NULL || is_cut;
    return true;
}

bool lines_next(struct lines *lines, enum lines_share share, struct line_piece *ret_piece)
{
    for (;;) {
        lines_look(lines);
        bool was_inside = lines->is_inside;
        bool is_whole = lines->has_mark && lines->mark.size > 0;
        bool is_held = lines->has_mark && !is_whole && share < LINES_SO_FAR && lines->size - lines->begin < LINES_SIZE;
        bool is_ended = is_whole ? lines->mark.kind == MARK_END : share == LINES_LAST;
        size_t limit = is_whole ? lines->mark.at : lines->size;
        if (is_whole && lines->begin == limit) {
            lines_pass_mark(lines);
            continue;
        }
        if (lines->begin == limit || is_held || (!is_whole && share == LINES_MARKED) ||
            !lines_cut(lines, limit, is_ended, is_whole || share == LINES_SO_FAR, ret_piece)) {
            return false;
        }
        ret_piece->is_known = is_whole;
        ret_piece->request = lines->mark.request;
        if (ret_piece->text.size > 0 || !(was_inside || lines->is_inside)) { /* else only the end of a line */
            return true;
        }
    }
}
