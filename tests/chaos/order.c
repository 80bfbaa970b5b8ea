#include "order.h"

#include <stdio.h>
#include <string.h>

const char *const cause_names[CAUSES] = {"none", "crashed", "exited", "time_limit", "out_of_memory", "server_error"};

static const struct deed deeds[] = {
    {"leave", 40, CAUSE_EXITED}, {"crash", 20, CAUSE_CRASHED},   {"kill", 25, CAUSE_CRASHED},
    {"close", 6, CAUSE_CRASHED}, {"fork", 3, CAUSE_NONE},        {"exhaust", 3, CAUSE_MEMORY},
    {"hang", 1, CAUSE_TIMEOUT},  {"stubborn", 1, CAUSE_TIMEOUT}, {"stop", 1, CAUSE_TIMEOUT},
};
enum { DEEDS = sizeof deeds / sizeof deeds[0], WEIGHTS = 100 };

enum { NAP_ONE_IN = 8, LONG_ONE_IN = 100, HEALTH_ONE_IN = 40, SHORT_PAD = 40 };

static const struct deed *choose_deed(struct chance *chance)
{
    unsigned left = chance_below(chance, WEIGHTS);
    size_t i = 0;
    while (i + 1 < DEEDS && left >= deeds[i].weight) {
        left -= deeds[i++].weight;
    }
    return &deeds[i];
}

struct order order_make(uint64_t number, struct chance *chance, unsigned lethal)
{
    struct order order = {.number = number, .name = chance_one_in(chance, NAP_ONE_IN) ? "nap" : "echo"};
    if (lethal > 0 && chance_one_in(chance, lethal)) {
        order.deed = choose_deed(chance);
        order.name = order.deed->name;
    }
    order.is_health = order.deed == NULL && chance_one_in(chance, HEALTH_ONE_IN);
    order.pad = chance_one_in(chance, LONG_ONE_IN) ? ORDER_LONG_PAD : chance_below(chance, SHORT_PAD);
    order.fill = chance_one_in(chance, LONG_ONE_IN) ? ORDER_LONG_FILL : 0;
    return order;
}

struct order order_make_stream(uint64_t number, struct chance *chance, unsigned lethal)
{
    struct order order = order_make(number, chance, lethal);
    order.is_health = false;
    order.fill = 0;
    order.events = 1 + chance_below(chance, ORDER_EVENTS_MAX);
    order.at = chance_below(chance, order.events);
    return order;
}

/* How the payload stands in the message of each form. */
static const char *const message_begin[] = {
    [FORM_RAW] = "",
    [FORM_FRAMED] = "{\"route\":{\"actors\":[\"a\",\"b\"],\"current\":0},\"payload\":",
    [FORM_HTTP] = "{\"id\":\"m\",\"route\":{\"prev\":[],\"curr\":\"a\",\"next\":[\"b\"]},\"payload\":",
};
static const char *const message_end[] = {[FORM_RAW] = "", [FORM_FRAMED] = "}", [FORM_HTTP] = "}"};

static const char *const reply_begin[] = {
    [FORM_RAW] = "{\"status\":\"ok\",\"result\":",
    [FORM_FRAMED] = "[{\"payload\":",
    [FORM_HTTP] = "{\"frames\":[{\"payload\":",
};
static const char *const reply_end[] = {
    [FORM_RAW] = "}",
    [FORM_FRAMED] = ",\"route\":{\"actors\":[\"a\",\"b\"],\"current\":1}}]",
    [FORM_HTTP] = ",\"route\":{\"prev\":[\"a\"],\"curr\":\"b\",\"next\":[]}}]}",
};

static char *put_text(char *at, const char *text)
{
    size_t size = strlen(text);
    memcpy(at, text, size);
    return at + size;
}

static char *put_filling(char *at, char letter, size_t size)
{
    memset(at, letter, size);
    return at + size;
}

size_t order_message(const struct order *order, enum form form, char *target)
{
    char *at = put_text(target, message_begin[form]);
    at += sprintf(at, "{\"number\":%llu,\"do\":\"%s\",\"fill\":%u,\"events\":%u,\"at\":%u,\"pad\":\"",
                  (unsigned long long)order->number, order->name, order->fill, order->events, order->at);
    at = put_filling(at, '.', order->pad);
    at = put_text(put_text(at, "\"}"), message_end[form]);
    *at = '\0';
    return (size_t)(at - target);
}

size_t order_reply(const struct order *order, enum form form, char *target)
{
    if (order->is_health) {
        return (size_t)sprintf(target, "{\"status\":\"ready\"}");
    }
    char *at = put_text(target, reply_begin[form]);
    at += sprintf(at, "{\"number\":%llu", (unsigned long long)order->number);
    if (order->fill > 0) {
        at = put_text(put_filling(put_text(at, ",\"fill\":\""), 'x', order->fill), "\"");
    }
    at = put_text(put_text(at, "}"), reply_end[form]);
    *at = '\0';
    return (size_t)(at - target);
}

bool order_may_be_cut(const struct order *order) { return order->fill > 0 || order->events > 0; }
