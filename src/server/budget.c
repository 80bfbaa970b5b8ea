#include "server/budget.h"

#include "base/clock.h"

#include <sys/epoll.h>

#define STALL_TIME (1 * CLOCK_SECOND)

enum {
    PROGRESS_LEAST = SCRATCH_SIZE, /* fewer bytes in STALL_TIME: the request is stalled */
    LARGE = 2 * BUDGET_FREE,       /* a larger buffer counts as large; that of a small request may be twice its size */
};

static bool budget_is_large(const struct conn *conn) { return conn->paused || conn->in.capacity > LARGE; }

/* Whether it is the oldest of the large requests that are being read. */
static bool budget_is_senior(const struct conn *conn)
{
    const struct conn *other = conn->host->lists[CONN_READING].first;
    while (other != NULL && other != conn && !budget_is_large(other)) {
        other = other->next;
    }
    return other == conn;
}

/* By how many bytes its buffer would grow to take `more`. */
static size_t budget_growth(const struct conn *conn, size_t more)
{
    size_t capacity = conn->in.capacity;
    if (capacity - conn->in.size >= more) {
        return 0;
    }
    size_t grown = 2 * capacity > conn->in.size + more ? 2 * capacity : conn->in.size + more;
    return (grown < conn->in.limit ? grown : conn->in.limit) - capacity;
}

static bool budget_fits(const struct conn_host *host, size_t growth)
{
    return host->config->max_buffered == 0 || growth == 0 || host->held + growth <= host->config->max_buffered;
}

size_t budget_admit(const struct conn *conn, size_t wanted)
{
    if (budget_fits(conn->host, budget_growth(conn, wanted)) || budget_is_senior(conn)) {
        return wanted;
    }
    return conn->in.size < BUDGET_FREE ? BUDGET_FREE - conn->in.size : 0;
}

void budget_pause(struct conn *conn)
{
    conn_set_paused(conn, true);
    conn->paused_at = conn->paused_at != 0 ? conn->paused_at : conn->moved_at;
    conn_watch(conn, EPOLLET); /* watch only for the end of the connection */
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

/* Assumes that each request that goes on will grow its buffer once. */
void budget_read_on(struct conn_host *host)
{
    size_t planned = 0;
    bool first = true;
    struct conn *next;
    if (!host->given_back) {
        return;
    }
    host->given_back = false;
    for (struct conn *conn = host->lists[CONN_READING].first; conn != NULL && host->paused > 0; conn = next) {
        next = conn->next;
        size_t growth = budget_growth(conn, SCRATCH_SIZE);
        if (conn->paused && (first || budget_fits(host, planned + growth))) {
            planned += growth;
            conn_set_paused(conn, false);
            conn_watch(conn, EPOLLIN);
        }
        first = first && (conn->fd < 0 || !budget_is_large(conn));
    }
}

static bool budget_is_long_ago(uint64_t then, uint64_t now) { return then < now && now - then >= STALL_TIME; }

struct conn *budget_find_stalled(const struct conn_host *host, uint64_t now, struct error *ret_err)
{
    struct conn *stalled = NULL; /* the oldest that holds much and makes no progress */
    bool waits = false;          /* some connection has been paused for as long */
    if (host->paused == 0) {
        return NULL;
    }
    for (struct conn *conn = host->lists[CONN_READING].first; conn != NULL; conn = conn->next) {
        if (conn->paused) {
            waits = waits || budget_is_long_ago(conn->paused_at, now);
        } else if (stalled == NULL && budget_is_large(conn) && budget_is_long_ago(conn->moved_at, now)) {
            stalled = conn;
        }
    }
    if (!waits || stalled == NULL) {
        return NULL;
    }
    error_set(ret_err, ERR_CONNECTION, 0,
              "the request made next to no progress for %llu ms, while others waited for the memory that it holds "
              "(ASYA_MAX_BUFFERED); %zu bytes arrived",
              (unsigned long long)(STALL_TIME / CLOCK_MS), stalled->seen);
    return stalled;
}
