#include "supervisor/running.h"

#include <stdio.h>
#include <string.h>

void running_name(const struct scoreboard *board, uint32_t slot, char name[SCOREBOARD_ID_MAX + 1])
{
    size_t size = board->slots[slot].id_size;
    size = size < SCOREBOARD_ID_MAX ? size : SCOREBOARD_ID_MAX;
    memcpy(name, board->ids[slot], size);
    name[size] = '\0';
}

void running_trace(const struct scoreboard *board, uint32_t slot, char trace[SCOREBOARD_TRACE_SIZE + 1])
{
    size_t size = board->slots[slot].trace_size;
    size = size < SCOREBOARD_TRACE_SIZE ? size : SCOREBOARD_TRACE_SIZE;
    memcpy(trace, board->traces[slot], size);
    trace[size] = '\0';
}

static bool is_request(enum slot_state state)
{
    return state == SLOT_RUNNING || state == SLOT_STREAMING || state == SLOT_PUSHING || state == SLOT_ANSWERED ||
           state == SLOT_REPLYING;
}

uint32_t running_alone(const struct scoreboard *board)
{
    uint32_t found = SLOTS_MAX;
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        enum slot_state state = slot_state(&board->slots[i]);
        if (is_request(state) && state != SLOT_REPLYING) {
            if (found != SLOTS_MAX) {
                return SLOTS_MAX;
            }
            found = i;
        }
    }
    return found;
}

void running_add(struct running *running, const struct scoreboard *board)
{
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        enum slot_state state = slot_state(&board->slots[i]);
        running->partial += state == SLOT_READING && scoreboard_first(board, i) != FIRST_NONE;
        if (!is_request(state)) {
            continue;
        }
        running->count++;
        running->sending += slot_state(&board->slots[i]) == SLOT_REPLYING;
        running->record = record_of(&board->slots[i]);
        if (running->named < RUNNING_NAMES) {
            running_name(board, i, running->names[running->named]);
            running->named += running->names[running->named][0] != '\0';
        }
    }
}

bool running_is_any(const struct scoreboard *board)
{
    struct running running = {0};
    running_add(&running, board);
    return running.count + running.partial > 0;
}

bool running_holds_any(const struct scoreboard *board)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        held += slot_state(&board->slots[i]) != SLOT_FREE;
    }
    return held > 0;
}

struct log_request running_about(const struct running *running)
{
    bool is_one = running->count == 1 && running->named == 1;
    return (struct log_request){.id = is_one ? view_of(running->names[0]) : (struct view){0}};
}

void running_describe(const struct running *running, char text[RUNNING_TEXT_SIZE])
{
    size_t used = 0;
    text[0] = '\0';
    if (running->count < 2) {
        return;
    }
    for (uint32_t i = 0; i < running->named; i++) {
        used +=
            (size_t)snprintf(text + used, RUNNING_TEXT_SIZE - used, "%s%s", i == 0 ? " (" : ", ", running->names[i]);
    }
    if (running->named > 0 && running->named < running->count) {
        used += (size_t)snprintf(text + used, RUNNING_TEXT_SIZE - used, ", %u more", running->count - running->named);
    }
    if (running->named > 0) {
        (void)snprintf(text + used, RUNNING_TEXT_SIZE - used, ")");
    }
}

void running_describe_holdup(const struct scoreboard *board, char text[HOLDUP_TEXT_SIZE])
{
    struct running running = {0};
    char noted[SCOREBOARD_TEXT_SIZE];
    running_add(&running, board);
    memcpy(noted, board->waits_for, sizeof noted);
    noted[sizeof noted - 1] = '\0';
    if (running.count > running.sending) {
        (void)snprintf(text, HOLDUP_TEXT_SIZE, "has %u requests that run", running.count);
    } else if (running.sending > 0) {
        (void)snprintf(text, HOLDUP_TEXT_SIZE, "has %u replies to send", running.sending);
    } else if (running.partial > 0) {
        (void)snprintf(text, HOLDUP_TEXT_SIZE, "waits for the rest of %u requests", running.partial);
    } else if (noted[0] != '\0') {
        (void)snprintf(text, HOLDUP_TEXT_SIZE, "has no request any more and waits for %s", noted);
    } else {
        (void)snprintf(text, HOLDUP_TEXT_SIZE, "has no request any more, and does not end");
    }
}
