/* asya-load: sends requests to a socket, as fast as the answers come or at a fixed rate, checks each answer, prints one
 * JSON line. */
#include "exchange.h"
#include "loop.h"

#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAX_CLIENTS = 65536, EXIT_USAGE = 2 };

struct settings {
    union {
        struct sockaddr any;
        struct sockaddr_un local;
        struct sockaddr_in tcp;
    } address;
    socklen_t address_size;
    const char *mode;
    const char *body_path;
    const char *expect;
    unsigned clients;
    unsigned threads;
    double seconds;
    uint64_t requests;
    double rate;
    bool uniform;
    uint64_t seed;
    double warm_up;
    double timeout;
    bool half_close;
    bool numbered;
};

/* One thread's part of the work. */
struct share {
    pthread_t thread;
    struct loop_options options;
    struct loop *loop;
    double seconds;
    uint64_t requests;
};

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

static void usage(FILE *out)
{
    fputs(
        "Usage: asya-load --socket PATH [options]\n"
        "\n"
        "Clients in a closed loop: each opens a connection, sends the request, reads the reply to its end, checks it\n"
        "and begins again. A latency runs from before the connection is made (or the request sent, where it is kept)\n"
        "until the whole reply has been read. With --rate the loop is open: requests are due at moments that are "
        "fixed\n"
        "ahead, one whose moment has come waits for the next free client, and its latency runs from that moment.\n"
        "\n"
        "  --socket PATH       where the server listens\n"
        "  --port N            instead: TCP, on 127.0.0.1\n"
        "  --mode MODE         the protocol: raw = the JSON value alone, the reply ends with the connection "
        "(default),\n"
        "                      framed = a length before it, http = POST /invoke, http-kept = on one connection\n"
        "  --clients N         requests under way at once (default 1)\n"
        "  --threads N         threads that share the clients, one event loop each (default 1)\n"
        "  --seconds S         begin requests for S seconds (default 5, unless --requests is given)\n"
        "  --requests N        begin at most N requests\n"
        "  --rate R            open loop: R requests a second, as many as --clients allows at once\n"
        "  --uniform           with the same span between any two, not as from clients that know nothing of each other "
        "(Poisson)\n"
        "  --seed N            which of the random moments (default 1)\n"
        "  --warm-up S         first run for S seconds that do not count (default 0.2; 0 = none)\n"
        "  --timeout S         give a request up after S seconds (default 30)\n"
        "  --body FILE         the JSON value to send (default: a short object)\n"
        "  --expect PREFIX     how a good reply begins (default {\"status\":\"ok\")\n"
        "  --no-half-close     raw: keep the sending side open after the request\n"
        "  --numbered          send {\"load_number\":N,\"body\":...}; a good reply holds \"load_number\":N exactly "
        "once\n"
        "  --help\n"
        "\n"
        "The line: requests (begun and ended), errors (those without a good reply), seconds, requests_per_second and\n"
        "latencies of the good ones in microseconds, client_busy (the share of the time that this program itself was\n"
        "working: near 1 it is the bottleneck), bytes, and outcomes, how many requests ended in which way. Of an open\n"
        "loop also rate, arrivals, seed, late_us (how long after its moment the last request began), unsent (requests\n"
        "that were due but given up, being later than --timeout) and kept_up: false if late_us is more than a "
        "twentieth\n"
        "of the run, or any was unsent: then rate is beyond what the server, or this client, can do.\n"
        "\n",
        out);
    for (size_t i = 0; i < OUTCOME_COUNT; i++) {
        fprintf(out, "  %-14s  %s\n", OUTCOME_NAMES[i], OUTCOME_MEANINGS[i]);
    }
    fputs("\nExit status: 0 all replies were good, 1 some were not or no server, 2 wrong use.\n", out);
}

static void refuse(const char *why, const char *what) __attribute__((noreturn));

static void refuse(const char *why, const char *what)
{
    fprintf(stderr, "asya-load: %s: %s\n", why, what);
    exit(EXIT_USAGE);
}

static double parse_seconds(const char *text)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (errno != 0 || end == text || *end != '\0' || !(value >= 0 && value <= 1e9)) {
        refuse("not a number of seconds", text);
    }
    return value;
}

static double parse_rate(const char *text)
{
    double value = parse_seconds(text);
    if (value <= 0) {
        refuse("not a usable rate", text);
    }
    return value;
}

static uint64_t parse_count(const char *text, uint64_t max)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-' || value < 1 || value > max) {
        refuse("not a usable number", text);
    }
    return value;
}

static void set_path(struct settings *settings, const char *path)
{
    struct sockaddr_un *local = &settings->address.local;
    if (strlen(path) >= sizeof(local->sun_path)) {
        refuse("path too long for a socket", path);
    }
    *local = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(local->sun_path, sizeof(local->sun_path), "%s", path);
    settings->address_size = sizeof(*local);
}

static void set_option(struct settings *settings, int option, const char *value)
{
    switch (option) {
    case 's':
        set_path(settings, value);
        break;
    case 'p':
        settings->address.tcp = (struct sockaddr_in){.sin_family = AF_INET,
                                                     .sin_port = htons((uint16_t)parse_count(value, UINT16_MAX)),
                                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        settings->address_size = sizeof(settings->address.tcp);
        break;
    case 'm':
        settings->mode = value;
        break;
    case 'c':
        settings->clients = (unsigned)parse_count(value, MAX_CLIENTS);
        break;
    case 't':
        settings->threads = (unsigned)parse_count(value, MAX_CLIENTS);
        break;
    case 'd':
        settings->seconds = parse_seconds(value);
        break;
    case 'n':
        settings->requests = parse_count(value, UINT64_MAX / 2);
        break;
    case 'r':
        settings->rate = parse_rate(value);
        break;
    case 'i':
        settings->uniform = true;
        break;
    case 'x':
        settings->seed = parse_count(value, UINT64_MAX / 2);
        break;
    case 'w':
        settings->warm_up = parse_seconds(value);
        break;
    case 'o':
        settings->timeout = parse_seconds(value);
        break;
    case 'b':
        settings->body_path = value;
        break;
    case 'e':
        settings->expect = value;
        break;
    case 'k':
        settings->half_close = false;
        break;
    case 'u':
        settings->numbered = true;
        break;
    case 'h':
        usage(stdout);
        exit(EXIT_SUCCESS);
    default:
        fputs("Try asya-load --help\n", stderr);
        exit(EXIT_USAGE);
    }
}

static void check_settings(struct settings *settings)
{
    if (settings->address_size == 0) {
        refuse("missing option", "--socket");
    }
    if (strlen(settings->expect) > EXPECT_MAX) {
        refuse("prefix too long", settings->expect);
    }
    if (mode_find(settings->mode) == NULL) {
        refuse("no such mode", settings->mode);
    }
    if (settings->numbered && !mode_find(settings->mode)->numbers) {
        refuse("requests cannot be numbered in mode", settings->mode);
    }
    if (settings->seconds <= 0 && settings->requests == 0) {
        settings->seconds = 5;
    }
    if (settings->timeout <= 0) {
        refuse("not a usable timeout", "0");
    }
    if (settings->threads > settings->clients) {
        settings->threads = settings->clients;
    }
    if (settings->requests > 0 && settings->threads > settings->requests) {
        settings->threads = (unsigned)settings->requests;
    }
}

static struct settings parse_arguments(int count, char **arguments)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'},   {"port", required_argument, NULL, 'p'},
        {"mode", required_argument, NULL, 'm'},     {"clients", required_argument, NULL, 'c'},
        {"threads", required_argument, NULL, 't'},  {"seconds", required_argument, NULL, 'd'},
        {"requests", required_argument, NULL, 'n'}, {"rate", required_argument, NULL, 'r'},
        {"uniform", no_argument, NULL, 'i'},        {"seed", required_argument, NULL, 'x'},
        {"warm-up", required_argument, NULL, 'w'},  {"timeout", required_argument, NULL, 'o'},
        {"body", required_argument, NULL, 'b'},     {"expect", required_argument, NULL, 'e'},
        {"no-half-close", no_argument, NULL, 'k'},  {"numbered", no_argument, NULL, 'u'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
    };
    struct settings settings = {
        .mode = "raw",
        .expect = "{\"status\":\"ok\"",
        .clients = 1,
        .threads = 1,
        .seed = 1,
        .warm_up = 0.2,
        .timeout = 30,
        .half_close = true,
    };
    int option;
    while ((option = getopt_long(count, arguments, "", options, NULL)) != -1) {
        set_option(&settings, option, optarg);
    }
    if (optind < count) {
        refuse("unexpected argument", arguments[optind]);
    }
    check_settings(&settings);
    return settings;
}

/* The whole file; the caller frees it. Ends the program if it cannot be read. */
static char *read_file(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        refuse(path, strerror(errno));
    }
    size_t size = 0;
    size_t capacity = 0;
    char *data = NULL;
    while (!feof(file) && !ferror(file)) {
        if (size == capacity) {
            capacity = capacity == 0 ? 1 << 16 : capacity * 2;
            char *larger = realloc(data, capacity);
            if (larger == NULL) {
                refuse(path, strerror(ENOMEM));
            }
            data = larger;
        }
        size += fread(data + size, 1, capacity - size, file);
    }
    if (ferror(file)) {
        refuse(path, strerror(errno));
    }
    fclose(file);
    *ret_size = size;
    return data;
}

/* A wrong address should be one clear line, not a report full of errors. */
static bool server_listens(const struct settings *settings)
{
    int fd = socket(settings->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool listens = fd >= 0 && connect(fd, &settings->address.any, settings->address_size) == 0;
    if (!listens && settings->address.any.sa_family == AF_INET) {
        fprintf(stderr, "asya-load: port %d: %s\n", ntohs(settings->address.tcp.sin_port), strerror(errno));
    } else if (!listens) {
        fprintf(stderr, "asya-load: %s: %s\n", settings->address.local.sun_path, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return listens;
}

static struct share *make_shares(const struct settings *settings, const struct plan *plan)
{
    struct share *shares = calloc(settings->threads, sizeof(*shares));
    if (shares == NULL) {
        refuse("no memory", strerror(errno));
    }
    for (unsigned i = 0; i < settings->threads; i++) {
        shares[i].options = (struct loop_options){
            .address = &settings->address.any,
            .address_size = settings->address_size,
            .clients = settings->clients / settings->threads + (i < settings->clients % settings->threads),
            .timeout_ns = (uint64_t)(settings->timeout * 1e9),
            .rate = settings->rate / settings->threads,
            .poisson = !settings->uniform,
            .seed = settings->seed + i,
            .first_number = i,
            .stride = settings->threads,
            .stopped = &stopped,
        };
        shares[i].loop = loop_new(plan, &shares[i].options);
        if (shares[i].loop == NULL) {
            refuse("no event loop", strerror(errno));
        }
    }
    return shares;
}

static void *run_share(void *argument)
{
    struct share *share = argument;
    loop_run(share->loop, share->seconds, share->requests);
    return NULL;
}

/* All threads work until the phase is over. requests == 0: no limit, otherwise at least one per thread. */
static void run_phase(struct share *shares, unsigned threads, double seconds, uint64_t requests)
{
    for (unsigned i = 0; i < threads; i++) {
        shares[i].seconds = seconds;
        shares[i].requests = requests / threads + (i < requests % threads);
        if (threads > 1 && pthread_create(&shares[i].thread, NULL, run_share, &shares[i]) != 0) {
            perror("asya-load: pthread_create");
            exit(EXIT_FAILURE);
        }
    }
    if (threads == 1) {
        run_share(&shares[0]);
    }
    for (unsigned i = 0; threads > 1 && i < threads; i++) {
        pthread_join(shares[i].thread, NULL);
    }
}

static void run_shares(const struct settings *settings, const struct plan *plan, struct tally *sum)
{
    struct share *shares = make_shares(settings, plan);
    if (settings->warm_up > 0) {
        run_phase(shares, settings->threads, settings->warm_up, 0);
    }
    run_phase(shares, settings->threads, settings->seconds, settings->requests);
    for (unsigned i = 0; i < settings->threads; i++) {
        tally_merge(sum, loop_tally(shares[i].loop));
        loop_free(shares[i].loop);
    }
    free(shares);
}

static double microseconds(uint64_t nanoseconds) { return (double)nanoseconds / 1e3; }

static void print_stray(const struct tally *tally)
{
    fputs("asya-load: a reply that was not expected begins: ", stderr);
    for (size_t i = 0; i < tally->stray_reply_size; i++) {
        unsigned char byte = (unsigned char)tally->stray_reply[i];
        if (byte >= ' ' && byte < 0x7f) {
            fputc(byte, stderr);
        } else {
            fprintf(stderr, "\\x%02x", byte);
        }
    }
    fputc('\n', stderr);
}

/* What is told of an open loop alone. */
static void report_rate(const struct settings *settings, const struct tally *tally, double seconds)
{
    double late = (double)tally->late_ns / 1e9;
    bool kept_up = tally->unsent == 0 && late <= seconds / 20;
    printf("\"rate\":%.1f,\"arrivals\":\"%s\",\"seed\":%llu,\"late_us\":%.2f,\"unsent\":%llu,\"kept_up\":%s,",
           settings->rate, settings->uniform ? "uniform" : "poisson", (unsigned long long)settings->seed, late * 1e6,
           (unsigned long long)tally->unsent, kept_up ? "true" : "false");
    if (!kept_up) {
        fprintf(stderr, "asya-load: could not keep up: the last request began %.1f ms after its moment, %llu did not\n",
                late * 1e3, (unsigned long long)tally->unsent);
    }
}

/* Returns the number of requests without a good reply. */
static uint64_t report(const struct settings *settings, const struct tally *tally)
{
    const struct histogram *latencies = &tally->latencies;
    uint64_t requests = 0;
    for (size_t i = 0; i < OUTCOME_COUNT; i++) {
        requests += tally->outcomes[i];
    }
    uint64_t good = tally->outcomes[OUTCOME_ok];
    double seconds = (double)(tally->last_end_ns - tally->first_start_ns) / 1e9;
    printf("{\"mode\":\"%s\",\"clients\":%u,\"threads\":%u,\"requests\":%llu,\"errors\":%llu,\"seconds\":%.6f,"
           "\"requests_per_second\":%.1f,",
           settings->mode, settings->clients, settings->threads, (unsigned long long)requests,
           (unsigned long long)(requests - good), seconds, seconds > 0 ? (double)good / seconds : 0.0);
    printf("\"mean_us\":%.2f,\"p50_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,\"max_us\":%.2f,",
           good > 0 ? microseconds(latencies->sum) / (double)good : 0.0,
           microseconds(histogram_quantile(latencies, 0.5)), microseconds(histogram_quantile(latencies, 0.99)),
           microseconds(histogram_quantile(latencies, 0.999)), microseconds(latencies->max));
    if (settings->rate > 0) {
        report_rate(settings, tally, seconds);
    }
    printf("\"client_busy\":%.3f,", seconds > 0 ? (double)tally->busy_ns / 1e9 / seconds / settings->threads : 0.0);
    printf("\"sent_bytes\":%llu,\"received_bytes\":%llu,\"outcomes\":{", (unsigned long long)tally->sent_bytes,
           (unsigned long long)tally->received_bytes);
    for (size_t i = 0; i < OUTCOME_COUNT; i++) {
        printf("%s\"%s\":%llu", i > 0 ? "," : "", OUTCOME_NAMES[i], (unsigned long long)tally->outcomes[i]);
    }
    puts("}}");
    if (tally->stray_reply_size > 0) {
        print_stray(tally);
    }
    return requests - good;
}

int main(int count, char **arguments)
{
    struct settings settings = parse_arguments(count, arguments);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (!server_listens(&settings)) {
        return EXIT_FAILURE;
    }
    size_t body_size = 0;
    char *body = settings.body_path != NULL ? read_file(settings.body_path, &body_size) : NULL;
    struct plan plan = {
        .mode = mode_find(settings.mode),
        .body = body != NULL ? (struct view){body, body_size} : view_of("{\"text\":\"hello\"}"),
        .expect = view_of(settings.expect),
        .numbered = settings.numbered,
        .half_close = settings.half_close && mode_find(settings.mode)->closes,
    };
    static struct tally sum;
    run_shares(&settings, &plan, &sum);
    free(body);
    return report(&settings, &sum) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
