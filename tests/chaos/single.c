/* Bare JSON and the length prefix: one order, one connection. */
#include "dialog.h"
#include "verdict.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PREFIX_SIZE = 4,
    LEAVE_AFTER_US = 3000,
    TWO_PIECES_ONE_IN = 16,
    NEWLINE_ONE_IN = 8, /* behind the value, in a write of its own, as line-wise clients do */
    NEWLINE_AFTER_US = 300,
    HALF_CLOSE_ONE_IN = 4,
    SLOW_READER_US = 20000,
};

static size_t put_prefix(char *at, size_t size)
{
    for (int i = 0; i < PREFIX_SIZE; i++) {
        at[i] = (char)(size >> (8 * (PREFIX_SIZE - 1 - i)));
    }
    return PREFIX_SIZE;
}

/* The length that a reply says, or as far as it has come. */
static size_t read_prefix(const struct link *link)
{
    size_t size = 0;
    for (int i = 0; i < PREFIX_SIZE; i++) {
        size = size << 8 | (unsigned char)link->bytes[i];
    }
    return size;
}

static enum verdict judge_framed(const struct speaker *speaker, const struct link *link, const struct order *order)
{
    if (link->size == 0) {
        return VERDICT_LOST;
    }
    if (link->size < PREFIX_SIZE) {
        return VERDICT_TRUNCATED;
    }
    size_t length = read_prefix(link);
    size_t size = link->size - PREFIX_SIZE;
    if (size > length) {
        return VERDICT_DUPLICATED;
    }
    enum verdict verdict = verdict_of(order, FORM_FRAMED, link->bytes + PREFIX_SIZE, size, speaker->shared);
    bool is_short = size < length;
    return is_short == (verdict == VERDICT_CUT) ? verdict : is_short ? VERDICT_TRUNCATED : VERDICT_WRONG;
}

static enum verdict judge(const struct speaker *speaker, const struct link *link, const struct order *order,
                          enum form form)
{
    if (link->state == LINK_LATE) {
        return VERDICT_LATE;
    }
    enum verdict verdict = form == FORM_FRAMED ? judge_framed(speaker, link, order)
                                               : verdict_of(order, form, link->bytes, link->size, speaker->shared);
    return link->state == LINK_RESET && verdict < VERDICT_DISCONNECTED ? VERDICT_RESET : verdict;
}

static void talk(struct speaker *speaker, struct link *link, const char *request, size_t size, enum form form)
{
    struct chance *chance = &speaker->chance;
    size_t first = chance_one_in(chance, TWO_PIECES_ONE_IN) ? chance_below(chance, (unsigned)size) : 0;
    bool adds_newline = form == FORM_RAW && chance_one_in(chance, NEWLINE_ONE_IN);
    (void)link_send(link, request, first); /* what is not taken has been answered already: the reply tells */
    (void)link_send(link, request + first, size - first);
    if (adds_newline) {
        (void)usleep(chance_below(chance, NEWLINE_AFTER_US));
        (void)link_send(link, "\n", 1);
    }
    if (chance_one_in(chance, HALF_CLOSE_ONE_IN)) {
        (void)shutdown(link->fd, SHUT_WR);
    }
}

void dialog_single(struct speaker *speaker, struct link *link, const struct order *order, enum form form)
{
    static _Thread_local char request[ORDER_ROOM];
    struct chance *chance = &speaker->chance;
    size_t prefix = form == FORM_FRAMED ? PREFIX_SIZE : 0;
    size_t size = order_message(order, form, request + prefix);
    size += form == FORM_FRAMED ? put_prefix(request, size) : 0;
    link_dial(link);
    if (chance_one_in(chance, DISCONNECT_ONE_IN)) { /* after some of the request, or all of it, and some time */
        (void)link_send(link, request, chance_below(chance, (unsigned)size + 1));
        (void)usleep(chance_below(chance, LEAVE_AFTER_US));
        link_close(link);
        verdict_count(VERDICT_DISCONNECTED, order, "", "", "");
        return;
    }
    uint64_t begun = verdict_now_us();
    talk(speaker, link, request, size, form);
    if (order->fill > 0) {
        (void)usleep(chance_below(chance, SLOW_READER_US));
    }
    link_read_all(link);
    verdict_time(begun);
    enum verdict verdict = judge(speaker, link, order, form);
    verdict_count(verdict, order, form == FORM_FRAMED ? "length prefix" : "bare JSON",
                  link->bytes + (link->size > prefix ? prefix : 0), link_reason(link));
    link_close(link);
}
