/*
 * asya-chaos: clients that send numbered requests to a runtime whose worker is being killed, and judge every reply.
 *
 *   asya-chaos SOCKET REQUESTS CLIENTS SEED LETHAL
 *
 * Each request has a connection of its own and a number of its own. One in LETHAL asks the function for a deed that
 * ends or halts its worker; one in 300 clients hangs up at a random moment. What comes back must be one JSON object and
 * the end of the connection: the request's own number, or an error that can follow from what is going on. Prints one
 * JSON line. Exit status: 0 none was lost, duplicated, mispaired, wrong or late; 1 some were; 2 wrong use.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 256, REPLY_MAX = 16384, PATIENCE_S = 30, DISCONNECT_ONE_IN = 300 };

/* What a request may ask for, how often among the lethal ones, and which errors its reply may name besides those that
 * another's deed or the killer brings about. */
struct deed {
    const char *name;
    unsigned weight;
    const char *error; /* part of a right reply */
};

static const struct deed deeds[] = {
    {"leave", 40, "\"WorkerExited\""},
    {"crash", 20, "\"WorkerCrashed\""},
    {"kill", 25, "\"WorkerCrashed\""},
    {"close", 6, "\"WorkerCrashed\""},
    {"fork", 3, ""},
    {"exhaust", 3, "\"out_of_memory\""},
    {"hang", 1, "\"HandlerTimeout\""},
    {"stubborn", 1, "\"HandlerTimeout\""},
    {"stop", 1, "\"HandlerTimeout\""},
};
enum { DEEDS = sizeof deeds / sizeof deeds[0], WEIGHT = 100 };

/* Whoever is served may be killed from outside, or stopped until its time is over. */
static const char *const any_error[] = {"\"WorkerCrashed\"", "\"HandlerTimeout\"", "\"server_error\""};

enum verdict { OK, ERROR, DISCONNECTED, LOST, DUPLICATED, MISPAIRED, WRONG, TRUNCATED, LATE, VERDICTS };
static const char *const verdict_names[VERDICTS] = {"ok",        "errors", "disconnected", "lost", "duplicated",
                                                    "mispaired", "wrong",  "truncated",    "late"};

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static uint64_t total;
static unsigned lethal;
static uint64_t seed;
static _Atomic uint64_t next_number = 1;
static _Atomic uint64_t verdicts[VERDICTS];
static _Atomic uint64_t lethal_sent;
static _Atomic uint64_t slowest_us;
static _Atomic int shown;

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static const struct deed *choose(uint64_t *chance)
{
    uint64_t left = random_next(chance) % WEIGHT;
    size_t i = 0;
    while (i + 1 < DEEDS && left >= deeds[i].weight) {
        left -= deeds[i++].weight;
    }
    return &deeds[i];
}

/* A connection; the backlog may be full, and the socket away for a moment. */
static int dial(void)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        perror("asya-chaos: connect");
        exit(2);
    }
    return fd;
}

/* Bytes of the reply, NUL-terminated. `*ret_error` is errno of a failed read, 0 at a clean end. */
static size_t read_reply(int fd, char reply[REPLY_MAX], int *ret_error)
{
    size_t size = 0;
    ssize_t got;
    while (size + 1 < REPLY_MAX && (got = recv(fd, reply + size, REPLY_MAX - 1 - size, 0)) != 0) {
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            *ret_error = errno;
            break;
        }
        size += (size_t)got;
    }
    reply[size] = '\0';
    return size;
}

/* How many JSON objects stand one after the other; -1 if the last is not complete or something else is there. */
static int count_objects(const char *text)
{
    int depth = 0;
    int objects = 0;
    bool in_string = false;
    for (; *text != '\0'; text++) {
        if (in_string) {
            text += *text == '\\' && text[1] != '\0';
            in_string = *text != '"';
        } else if (*text == '"') {
            in_string = true;
        } else if (*text == '{') {
            depth++;
        } else if (*text == '}') {
            objects += --depth == 0;
        } else if (depth == 0) {
            return -1;
        }
    }
    return depth == 0 ? objects : -1;
}

static enum verdict judge(const char *reply, size_t size, int error, uint64_t number, const struct deed *deed)
{
    char expected[80];
    (void)snprintf(expected, sizeof expected, "{\"status\":\"ok\",\"result\":{\"number\":%llu}}",
                   (unsigned long long)number);
    if (error == EAGAIN || error == EWOULDBLOCK) {
        return LATE;
    }
    if (size == 0) {
        return LOST;
    }
    if (strcmp(reply, expected) == 0) {
        return OK;
    }
    int objects = count_objects(reply);
    if (objects != 1) {
        return objects > 1 ? DUPLICATED : TRUNCATED;
    }
    if (strncmp(reply, "{\"status\":\"ok\"", 14) == 0) {
        return MISPAIRED;
    }
    if (strncmp(reply, "{\"error\":", 9) != 0) {
        return WRONG;
    }
    if (deed != NULL && deed->error[0] != '\0' && strstr(reply, deed->error) != NULL) {
        return ERROR;
    }
    for (size_t i = 0; i < sizeof any_error / sizeof any_error[0]; i++) {
        if (strstr(reply, any_error[i]) != NULL) {
            return ERROR;
        }
    }
    return WRONG;
}

static void show(enum verdict verdict, const char *request, const char *reply, int error)
{
    if (verdict > DISCONNECTED && atomic_fetch_add(&shown, 1) < 20) {
        (void)fprintf(stderr, "asya-chaos: %s: %s -> %.300s (%s)\n", verdict_names[verdict], request, reply,
                      error != 0 ? strerror(error) : "end");
    }
}

static void exchange(uint64_t number, uint64_t *chance)
{
    char request[160];
    char reply[REPLY_MAX];
    const struct deed *deed = random_next(chance) % lethal == 0 ? choose(chance) : NULL;
    const char *name = deed != NULL ? deed->name : random_next(chance) % 8 == 0 ? "nap" : "echo";
    int size = snprintf(request, sizeof request, "{\"number\":%llu,\"do\":\"%s\",\"pad\":\"%.*s\"}",
                        (unsigned long long)number, name, (int)(random_next(chance) % 40),
                        "........................................");
    bool leaves = random_next(chance) % DISCONNECT_ONE_IN == 0;
    uint64_t begun = now_us();
    lethal_sent += deed != NULL;
    int fd = dial();
    if (leaves) { /* after some of the request, or all of it, and some time */
        (void)!send(fd, request, random_next(chance) % (size_t)(size + 1), MSG_NOSIGNAL);
        (void)usleep((useconds_t)(random_next(chance) % 3000));
        (void)close(fd);
        verdicts[DISCONNECTED]++;
        return;
    }
    int error = 0;
    size_t first = random_next(chance) % 16 == 0 ? random_next(chance) % (size_t)size : 0; /* some come in two pieces */
    if ((first > 0 && send(fd, request, first, MSG_NOSIGNAL) != (ssize_t)first) ||
        send(fd, request + first, (size_t)size - first, MSG_NOSIGNAL) != (ssize_t)((size_t)size - first)) {
        error = errno; /* it may have been answered already: the reply tells */
    }
    size_t got = read_reply(fd, reply, &error);
    (void)close(fd);
    enum verdict verdict = judge(reply, got, error, number, deed);
    verdicts[verdict]++;
    show(verdict, request, reply, error);
    uint64_t taken = now_us() - begun;
    uint64_t slowest = slowest_us;
    while (taken > slowest && !atomic_compare_exchange_weak(&slowest_us, &slowest, taken)) {
    }
}

static void *client(void *context)
{
    const uint64_t *index = context;
    uint64_t chance = (seed + 1) * UINT64_C(0x9E3779B97F4A7C15) + *index * 7919;
    uint64_t number;
    while ((number = atomic_fetch_add(&next_number, 1)) <= total) {
        exchange(number, &chance);
    }
    return NULL;
}

int main(int count, char **arguments)
{
    if (count != 6 || strlen(arguments[1]) >= sizeof address.sun_path) {
        (void)fprintf(stderr, "usage: asya-chaos SOCKET REQUESTS CLIENTS SEED LETHAL\n");
        return 2;
    }
    memcpy(address.sun_path, arguments[1], strlen(arguments[1]));
    total = strtoull(arguments[2], NULL, 10);
    unsigned long clients = strtoul(arguments[3], NULL, 10);
    seed = strtoull(arguments[4], NULL, 10);
    lethal = (unsigned)strtoul(arguments[5], NULL, 10);
    if (total == 0 || clients == 0 || clients > CLIENTS_MAX || lethal == 0) {
        (void)fprintf(stderr, "asya-chaos: numbers must be positive, clients at most %d\n", CLIENTS_MAX);
        return 2;
    }
    pthread_t threads[CLIENTS_MAX];
    uint64_t indices[CLIENTS_MAX];
    uint64_t begun = now_us();
    for (size_t i = 0; i < clients; i++) {
        indices[i] = i;
        if (pthread_create(&threads[i], NULL, client, &indices[i]) != 0) {
            perror("asya-chaos: pthread_create");
            return 2;
        }
    }
    for (size_t i = 0; i < clients; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    printf("{\"requests\":%llu,\"seconds\":%.1f,\"lethal\":%llu,\"slowest_ms\":%.1f", (unsigned long long)total,
           (double)(now_us() - begun) / 1e6, (unsigned long long)lethal_sent, (double)slowest_us / 1e3);
    uint64_t bad = 0;
    for (int i = 0; i < VERDICTS; i++) {
        printf(",\"%s\":%llu", verdict_names[i], (unsigned long long)verdicts[i]);
        bad += i > DISCONNECTED ? verdicts[i] : 0;
    }
    printf("}\n");
    return bad == 0 ? 0 : 1;
}
