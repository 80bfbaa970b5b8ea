/*
 * The socket, its file, and the ready-file. They exist from the first worker's readiness to the stop; the ready-file
 * goes in a crash loop and while the runtime is drained, too. It stays while a worker is replaced after a single death:
 * those who test for it restart the container if it is missing (Asya's liveness probe), and the service comes back
 * sooner by itself. Whether requests are served at this moment is told by GET /readyz. If the socket's file is removed,
 * or the function shuts the socket down, a new one is made: the connections in the old backlog are taken over and the
 * workers are sent the new socket. A ready-file that is missing, since it was removed or the disk was full, is written
 * again. Checked once a second, and when a worker reports that it cannot accept.
 */
#include "base/clock.h"
#include "base/exits.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/control.h"
#include "supervisor/readyfile.h"
#include "supervisor/state.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#define RENEW_PATIENCE (30 * CLOCK_SECOND) /* for disk space or a permission that is missing to put it back */

void socket_file_show_readiness(struct supervisor *supervisor)
{
    const char *path = supervisor->options->ready_file;
    if (!state_is_on_duty(supervisor)) {
        readyfile_remove(path);
        return;
    }
    int status = readyfile_write(path);
    if (status < 0 && !supervisor->ready_is_lost) {
        log_error(EVENT_SOCKET_LOST, "cannot write the ready-file %s: %s; serving without it", path, strerror(-status));
    }
    supervisor->ready_is_lost = status < 0;
}

/* The ready-file is written as long as it is missing: what stood in the way may be over. */
static void socket_file_check_ready(struct supervisor *supervisor)
{
    const char *path = supervisor->options->ready_file;
    struct file_identity found;
    if (path[0] == '\0' || !state_is_on_duty(supervisor) || fd_stat_at(AT_FDCWD, path, &found) != -ENOENT) {
        return;
    }
    socket_file_show_readiness(supervisor);
    if (!supervisor->ready_is_lost) {
        log_warning(EVENT_SOCKET_RESTORED, "the ready-file %s was missing; it has been put back", path);
    }
}

void socket_file_publish(struct supervisor *supervisor)
{
    int status = listener_publish(&supervisor->listener);
    if (status < 0) {
        log_error(EVENT_SOCKET_LOST, "cannot publish %s: %s", supervisor->options->socket_path, strerror(-status));
        stop_begin(supervisor, "the socket cannot be published", EXIT_SOCKET);
        return;
    }
    supervisor->phase = PHASE_SERVING;
    supervisor->has_served = true;
    supervisor->next_check = clock_after(clock_now(), STATE_CHECK_INTERVAL);
    socket_file_show_readiness(supervisor);
    log_info(EVENT_RUNTIME_READY, "listening on %s, %u worker%s, %s, runtime " ASYA_VERSION,
             supervisor->options->socket_path, (unsigned)supervisor->options->workers,
             supervisor->options->workers == 1 ? "" : "s", state_function(supervisor));
}

/* It could not be put back. If disk space or a permission is missing, try again for a while: connected clients are
 * still served, and others would not be better off if the runtime ended. */
static void socket_file_missing(struct supervisor *supervisor, const char *what, enum listener_renewal renewal,
                                const struct error *err)
{
    uint64_t now = clock_now();
    const char *path = supervisor->options->socket_path;
    if (renewal == LISTENER_LOST || (supervisor->give_up_at != 0 && supervisor->give_up_at <= now)) {
        log_error(EVENT_SOCKET_LOST, "%s was %s and cannot be put back: %s", path, what, err->text);
        stop_begin(supervisor, "the socket is lost", EXIT_SOCKET_LOST);
    } else if (supervisor->give_up_at == 0) {
        supervisor->give_up_at = clock_after(now, RENEW_PATIENCE);
        log_warning(EVENT_SOCKET_LOST, "%s was %s and cannot be put back yet: %s; it is tried for %llu s", path, what,
                    err->text, (unsigned long long)(RENEW_PATIENCE / CLOCK_SECOND));
    }
}

/* Connections in the backlog of the old socket go to the fallback acceptor. If it has no room for all, the workers
 * still accept the rest from the old socket. */
static void socket_file_take_queued(struct supervisor *supervisor, int old)
{
    const struct listener former = {.fd = old, .allowed_uids = supervisor->listener.allowed_uids};
    uint64_t now = clock_now();
    int connection;
    while (orphans_have_room(&supervisor->orphans) && (connection = listener_accept(&former)) >= 0) {
        (void)orphans_add(&supervisor->orphans, connection, false, now);
    }
}

static void socket_file_renew(struct supervisor *supervisor, const char *what)
{
    struct error err;
    int old = -1;
    fallback_close(supervisor);
    enum listener_renewal renewal = listener_renew(&supervisor->listener, &old, &err);
    if (renewal != LISTENER_RENEWED) {
        socket_file_missing(supervisor, what, renewal, &err);
        return;
    }
    supervisor->give_up_at = 0;
    log_warning(EVENT_SOCKET_RESTORED, "%s was %s; it has been put back", supervisor->options->socket_path, what);
    socket_file_take_queued(supervisor, old);
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        const struct worker *worker = &supervisor->workers[i];
        if (worker->state == WORKER_STARTING || worker->state == WORKER_SPARE || worker->state == WORKER_READY) {
            worker_give(&supervisor->workers[i], CONTROL_LISTENER, supervisor->listener.fd);
        }
    }
    socket_file_show_readiness(supervisor);
    fd_close(&old);
}

void socket_file_check(struct supervisor *supervisor)
{
    socket_file_check_ready(supervisor);
    switch (listener_check(&supervisor->listener)) {
    case LISTENER_OURS:
    case LISTENER_UNKNOWN: /* the folder cannot be read now; clients may still reach the socket, and the next check may
                              know more */
        if (!listener_mend(&supervisor->listener)) {
            socket_file_renew(supervisor, "shut down by the function");
        }
        return;
    case LISTENER_GONE:
        socket_file_renew(supervisor, "removed");
        return;
    case LISTENER_TAKEN:
        log_error(EVENT_SOCKET_LOST, "something else is at %s now; it was left alone",
                  supervisor->options->socket_path);
        stop_begin(supervisor, "the socket is lost", EXIT_SOCKET_LOST);
        return;
    }
}
