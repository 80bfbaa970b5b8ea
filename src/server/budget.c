#include "server/budget.h"

#include "base/clock.h"

#include <sys/epoll.h>

#define STALL_TIME    (1 * CLOCK_SECOND)
#define TEND_INTERVAL (250 * CLOCK_MS)

enum {
    PROGRESS_LEAST = SCRATCH_SIZE, /* bytes in STALL_TIME, of who is not stalled */
    LARGE = 2 * BUDGET_FREE, /* a buffer beyond this can be in others' way: a small request's may be twice its size */
};

static bool is_large(const struct conn *conn) { return conn->paused || conn->in.capacity > LARGE; }

static void set_paused(struct conn *conn, bool paused)
{
    if (conn->paused != paused) {
        conn->paused = paused;
        conn->host->paused += paused ? 1U : -1U;
        conn->moved_at = clock_now();
    }
}

void budget_recount(struct conn *conn)
{
    struct conn_host *host = conn->host;
    size_t holds = conn->in.capacity + conn->out.capacity;
    host->held += holds - conn->counted;
    conn->counted = holds;
    host->given_back = true; /* or it may be: a turn in which somebody is paused looks */
    if (conn->fd < 0 || conn->state != CONN_READING) {
        set_paused(conn, false);
    }
}

/* The oldest of the large ones that are being read. */
static bool is_senior(const struct conn *conn)
{
    const struct conn *other = conn->host->lists[CONN_READING].first;
    while (other != NULL && other != conn && !is_large(other)) {
        other = other->next;
    }
    return other == conn;
}

/* Bytes its buffer grows by for `more`. */
static size_t growth_for(const struct conn *conn, size_t more)
{
    size_t capacity = conn->in.capacity;
    if (capacity - conn->in.size >= more) {
        return 0;
    }
    size_t grown = 2 * capacity > conn->in.size + more ? 2 * capacity : conn->in.size + more;
    return (grown < conn->in.limit ? grown : conn->in.limit) - capacity;
}

static bool fits(const struct conn_host *host, size_t growth)
{
    return host->max_held == 0 || growth == 0 || host->held + growth <= host->max_held;
}

size_t budget_admit(const struct conn *conn, size_t wanted)
{
    if (fits(conn->host, growth_for(conn, wanted)) || is_senior(conn)) {
        return wanted;
    }
    return conn->in.size < BUDGET_FREE ? BUDGET_FREE - conn->in.size : 0;
}

void budget_pause(struct conn *conn)
{
    set_paused(conn, true);
    conn->paused_at = conn->paused_at != 0 ? conn->paused_at : conn->moved_at;
    conn_watch(conn, EPOLLET); /* the end of the connection alone */
}

void budget_note_progress(struct conn *conn, size_t got)
{
    if (conn->in.capacity <= LARGE) {
        return;
    }
    conn->moved += got;
    if (conn->moved >= PROGRESS_LEAST || conn->moved_at == 0) {
        conn->moved = 0;
        conn->moved_at = clock_now();
    }
}

/* Each that is let go is taken to grow once. */
static void read_on(struct conn_host *host)
{
    size_t planned = 0;
    bool first = true;
    struct conn *next;
    for (struct conn *conn = host->lists[CONN_READING].first; conn != NULL && host->paused > 0; conn = next) {
        next = conn->next;
        size_t growth = growth_for(conn, SCRATCH_SIZE);
        if (conn->paused && (first || fits(host, planned + growth))) {
            planned += growth;
            set_paused(conn, false);
            conn_watch(conn, EPOLLIN);
        }
        first = first && (conn->fd < 0 || !is_large(conn));
    }
}

static bool is_long_ago(uint64_t then, uint64_t now) { return then < now && now - then >= STALL_TIME; }

/* The oldest that holds much and does not go on; only where somebody was paused as long ago. */
static struct conn *find_stalled(const struct conn_host *host, uint64_t now)
{
    struct conn *stalled = NULL;
    bool waits = false;
    for (struct conn *conn = host->lists[CONN_READING].first; conn != NULL; conn = conn->next) {
        if (conn->paused) {
            waits = waits || is_long_ago(conn->paused_at, now);
        } else if (stalled == NULL && is_large(conn) && is_long_ago(conn->moved_at, now)) {
            stalled = conn;
        }
    }
    return waits ? stalled : NULL;
}

static void send_away(struct conn *conn)
{
    struct error err;
    error_set(
        &err, ERR_CONNECTION, 0,
        "next to nothing of the request has come for %llu ms, and it gives way to others that wait for the memory "
        "it takes (ASYA_MAX_BUFFERED); %zu bytes arrived",
        (unsigned long long)(STALL_TIME / CLOCK_MS), conn->seen);
    conn_refuse_http(conn, 408, &err);
}

uint64_t budget_tend(struct conn_host *host, uint64_t now)
{
    struct conn *stalled;
    for (;;) {
        if (host->paused > 0 && host->given_back) {
            host->given_back = false;
            read_on(host);
        }
        if (host->paused == 0 || (stalled = find_stalled(host, now)) == NULL) {
            return host->paused == 0 ? CLOCK_NEVER : clock_after(now, TEND_INTERVAL);
        }
        send_away(stalled);
    }
}
