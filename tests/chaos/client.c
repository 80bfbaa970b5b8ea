/*
 * asya-chaos: clients that send numbered requests to a runtime whose workers are being killed, and judge every reply.
 *
 *   asya-chaos SOCKET NAME=VALUE...
 *
 *   requests, clients, seed   how many, from how many clients at once, and what their choices depend on
 *   lethal                    one request in so many asks for a deed that ends or halts its worker; 0: none
 *   shared                    1: several requests run in one worker, and suffer what one of them does
 *   idle                      milliseconds after which the server closes a kept connection: now and then one is used
 *                             in just that moment. 0: not
 *   raw, framed, new, kept, stream
 *                             weights of bare JSON, the length prefix, an HTTP connection each, kept ones, and streams
 *
 * Each request has a number of its own. One client in 300 hangs up at a random moment. What comes back must be one
 * reply and what the protocol says of the connection: the request's own number, or an error that can follow from what
 * is going on (verdict.h). Prints one line of JSON. Exit status: 0 all replies were right; 1 some were not; 2 wrong
 * use.
 */
#include "dialog.h"
#include "verdict.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CLIENTS_MAX = 256,
    KEPT = 3, /* connections that each client keeps, each idle while it uses another */
    KEPT_USES = 60,
    PIPELINE_ONE_IN = 3,
    IDLE_ONE_IN = 20,
    IDLE_BEFORE_US = 2000, /* the moments around the end of the idle time */
    IDLE_SPREAD_US = 15000,
    STREAM_AMONG_ONE_IN = 25, /* a stream on a connection that was kept, which it ends */
};

enum way { WAY_RAW, WAY_FRAMED, WAY_NEW, WAY_KEPT, WAY_STREAM, WAYS };

/* What the command line says; first the ways, in their order. */
static struct setting {
    const char *name;
    unsigned long value;
} settings[] = {
    [WAY_RAW] = {"raw", 25},
    [WAY_FRAMED] = {"framed", 15},
    [WAY_NEW] = {"new", 15},
    [WAY_KEPT] = {"kept", 35},
    [WAY_STREAM] = {"stream", 10},
    {"requests", 1000},
    {"clients", 16},
    {"seed", 1},
    {"lethal", 100},
    {"shared", 0},
    {"idle", 0},
};
enum { SETTINGS = sizeof settings / sizeof settings[0], REQUESTS = WAYS, COUNT_CLIENTS, SEED, LETHAL, SHARED, IDLE };

static _Atomic uint64_t next_number = 1;
static _Atomic uint64_t lethal_sent;

struct client {
    struct speaker speaker;
    struct link single;
    struct link kept[KEPT];
    uint64_t used[KEPT]; /* verdict_now_us() at the end of its last exchange */
};

static enum way choose_way(struct chance *chance)
{
    unsigned long all = 0;
    for (int way = 0; way < WAYS; way++) {
        all += settings[way].value;
    }
    unsigned left = chance_below(chance, (unsigned)all);
    int way = 0;
    while (left >= settings[way].value) {
        left -= (unsigned)settings[way++].value;
    }
    return (enum way)way;
}

/* The next number's order. False if there are no more. */
static bool take_order(struct speaker *speaker, bool is_stream, struct order *ret_order)
{
    uint64_t number = atomic_fetch_add(&next_number, 1);
    if (number > settings[REQUESTS].value) {
        return false;
    }
    unsigned lethal = (unsigned)settings[LETHAL].value;
    *ret_order =
        is_stream ? order_make_stream(number, &speaker->chance, lethal) : order_make(number, &speaker->chance, lethal);
    lethal_sent += ret_order->deed != NULL;
    return true;
}

static bool talk_single(struct client *client, enum form form)
{
    struct order order;
    if (!take_order(&client->speaker, false, &order)) {
        return false;
    }
    order.is_health = false;
    dialog_single(&client->speaker, &client->single, &order, form);
    return true;
}

static bool talk_new(struct client *client, bool is_stream)
{
    struct order order;
    if (!take_order(&client->speaker, is_stream, &order)) {
        return false;
    }
    dialog_http(&client->speaker, &client->single, &order, 1, is_stream ? "stream" : "new HTTP");
    dialog_leave(&client->speaker, &client->single, "new HTTP");
    return true;
}

/* Now and then until about the moment that the server closes the connection, which is idle since `used`. */
static void wait_idle(struct chance *chance, uint64_t used)
{
    if (settings[IDLE].value > 0 && chance_one_in(chance, IDLE_ONE_IN)) {
        uint64_t until = used + settings[IDLE].value * 1000 + chance_below(chance, IDLE_SPREAD_US) - IDLE_BEFORE_US;
        uint64_t now = verdict_now_us();
        (void)usleep(until > now ? (useconds_t)(until - now) : 0);
    }
}

static bool talk_kept(struct client *client)
{
    struct chance *chance = &client->speaker.chance;
    size_t chosen = chance_below(chance, KEPT);
    struct link *link = &client->kept[chosen];
    struct order orders[PIPELINED_MAX];
    size_t wanted = chance_one_in(chance, PIPELINE_ONE_IN) ? 2 + chance_below(chance, PIPELINED_MAX - 1) : 1;
    size_t count = 0;
    while (count < wanted && take_order(&client->speaker, chance_one_in(chance, STREAM_AMONG_ONE_IN), &orders[count])) {
        if (wanted > 1) { /* what both sides would wait for each other with */
            orders[count].pad %= 100;
            orders[count].fill = 0;
        }
        count++;
    }
    if (count > 0) {
        if (link->fd >= 0) {
            wait_idle(chance, client->used[chosen]);
        }
        dialog_http(&client->speaker, link, orders, count, wanted > 1 ? "pipelined" : "kept HTTP");
        client->used[chosen] = verdict_now_us();
    }
    if (chance_one_in(chance, KEPT_USES)) {
        dialog_leave(&client->speaker, link, "kept HTTP");
    }
    return count > 0;
}

static bool talk(struct client *client)
{
    switch (choose_way(&client->speaker.chance)) {
    case WAY_RAW:
        return talk_single(client, FORM_RAW);
    case WAY_FRAMED:
        return talk_single(client, FORM_FRAMED);
    case WAY_NEW:
        return talk_new(client, false);
    case WAY_STREAM:
        return talk_new(client, true);
    default:
        return talk_kept(client);
    }
}

static void *run(void *context)
{
    struct client *client = context;
    bool goes_on = true;
    client->single.fd = -1;
    for (int i = 0; i < KEPT; i++) {
        client->kept[i].fd = -1;
    }
    while (goes_on) {
        goes_on = talk(client);
    }
    for (int i = 0; i < KEPT; i++) {
        dialog_leave(&client->speaker, &client->kept[i], "kept HTTP");
    }
    return NULL;
}

static bool read_settings(int count, char **words)
{
    for (int i = 0; i < count; i++) {
        char *end;
        size_t chosen = 0;
        const char *equals = strchr(words[i], '=');
        size_t size = equals != NULL ? (size_t)(equals - words[i]) : 0;
        while (chosen < SETTINGS &&
               (strlen(settings[chosen].name) != size || strncmp(settings[chosen].name, words[i], size) != 0)) {
            chosen++;
        }
        if (equals == NULL || chosen == SETTINGS) {
            return false;
        }
        settings[chosen].value = strtoul(equals + 1, &end, 10);
        if (end == equals + 1 || *end != '\0') {
            return false;
        }
    }
    unsigned long clients = settings[COUNT_CLIENTS].value;
    unsigned long weights = 0;
    for (int way = 0; way < WAYS; way++) {
        weights += settings[way].value;
    }
    return weights > 0 && clients > 0 && clients <= CLIENTS_MAX;
}

int main(int count, char **words)
{
    if (count < 2 || !link_set_path(words[1]) || !read_settings(count - 2, words + 2)) {
        (void)fprintf(stderr, "usage: asya-chaos SOCKET NAME=VALUE...; the names are in tests/chaos/client.c\n");
        return 2;
    }
    pthread_t threads[CLIENTS_MAX];
    size_t clients = settings[COUNT_CLIENTS].value;
    struct client *all = calloc(clients, sizeof *all);
    uint64_t begun = verdict_now_us();
    for (size_t i = 0; i < clients && all != NULL; i++) {
        all[i].speaker.chance = chance_make(settings[SEED].value, i);
        all[i].speaker.shared = settings[SHARED].value != 0;
    }
    for (size_t i = 0; i < clients; i++) {
        if (all == NULL || pthread_create(&threads[i], NULL, run, &all[i]) != 0) {
            perror("asya-chaos: pthread_create");
            return 2;
        }
    }
    for (size_t i = 0; i < clients; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    free(all);
    printf("{\"requests\":%lu,\"seconds\":%.1f,\"lethal\":%llu", settings[REQUESTS].value,
           (double)(verdict_now_us() - begun) / 1e6, (unsigned long long)lethal_sent);
    uint64_t bad = verdict_print();
    printf("}\n");
    return bad == 0 ? 0 : 1;
}
