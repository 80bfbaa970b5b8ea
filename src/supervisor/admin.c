/*
 * The control socket and its twin on TCP (docs/operating.md): their sockets, and which request goes where.
 *
 * To add something that can be asked, write its answer (status.c has the GETs) and add a row to `routes`. An answer
 * fills the reply and returns true; or it keeps request->ticket, returns false, and calls desk_reply() later.
 */
#include "base/clock.h"
#include "base/exits.h"
#include "base/fd.h"
#include "base/log.h"
#include "server/port.h"
#include "supervisor/dashboard.h"
#include "supervisor/metrics.h"
#include "supervisor/state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

enum { ADMIN_MODE = 0600 }; /* of the control socket: it can stop probes from passing, and shows what runs */

struct admin_route {
    const char *path;
    enum http1_method method; /* GET stands for HEAD, too */
    bool (*answer)(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply);
};

static bool admin_answer_page(struct supervisor *supervisor, const struct desk_request *request,
                              struct desk_reply *reply)
{
    (void)supervisor;
    (void)request;
    reply->type = dashboard_type;
    if (buffer_append(&reply->body, dashboard_text, strlen(dashboard_text)) != BUFFER_OK) {
        reply->status = 503;
    }
    return true;
}

static const struct admin_route routes[] = {
    {"/livez", HTTP1_GET, status_answer_live},
    {"/readyz", HTTP1_GET, status_answer_ready},
    {"/startupz", HTTP1_GET, status_answer_startup},
    {"/status", HTTP1_GET, status_answer},
    {"/metrics", HTTP1_GET, metrics_answer},
    {"/stacks", HTTP1_POST, verbs_stacks},
    {"/log-level", HTTP1_POST, verbs_log_level},
    {"/drain", HTTP1_POST, verbs_drain},
    {"/undrain", HTTP1_POST, verbs_undrain},
    {"/recycle", HTTP1_POST, verbs_recycle},
    {"/", HTTP1_GET, admin_answer_page},
};

enum { ROUTES = sizeof routes / sizeof routes[0] };

static const struct admin_route *admin_find(struct view path)
{
    for (size_t i = 0; i < ROUTES; i++) {
        if (view_is(path, routes[i].path)) {
            return &routes[i];
        }
    }
    return NULL;
}

static void admin_refuse_path(const struct desk_request *request, struct desk_reply *reply)
{
    char text[512];
    size_t used = (size_t)snprintf(text, sizeof text, "there are");
    for (size_t i = 0; i < ROUTES; i++) {
        bool is_get = routes[i].method == HTTP1_GET;
        if (used < sizeof text && (is_get || request->door == DESK_CONTROL)) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%s %s %s", i > 0 ? "," : "",
                                     is_get ? "GET" : "POST", routes[i].path);
        }
    }
    verbs_refuse(reply, 404, "not_found", text);
}

/* The desk's answer(). */
static bool admin_answer(void *context, const struct desk_request *request, struct desk_reply *reply)
{
    struct supervisor *supervisor = context;
    const struct admin_route *route = admin_find(request->path);
    if (route == NULL || (route->method != HTTP1_GET && request->door == DESK_PORT)) {
        admin_refuse_path(request, reply);
        return true;
    }
    enum http1_method method = request->method == HTTP1_HEAD ? HTTP1_GET : request->method;
    if (method != route->method) {
        reply->allow = route->method == HTTP1_GET ? "GET, HEAD" : "POST";
        verbs_refuse(reply, 405, "method_not_allowed",
                     route->method == HTTP1_GET ? "ask for this with GET" : "ask for this with POST");
        return true;
    }
    return route->answer(supervisor, request, reply);
}

/* ---- the sockets ------------------------------------------------------------------------------------------------ */

static int admin_open_control(struct supervisor *supervisor, struct error *err)
{
    const struct options *options = supervisor->options;
    const struct listener_wish wish = {.variable = "ASYA_CONTROL_PATH",
                                       .path = options->control_path,
                                       .mode = ADMIN_MODE,
                                       .is_beside = !options->control_is_named};
    int code = listener_open(&supervisor->control, &wish, err);
    if (code == EXIT_OK) {
        int status = listener_publish(&supervisor->control);
        status = status == 0 ? desk_set_door(&supervisor->desk, DESK_CONTROL, supervisor->control.fd) : status;
        if (status < 0) {
            code = EXIT_SOCKET;
            error_set(err, ERR_SERVER, 0, "cannot publish %s: %s", options->control_path, strerror(-status));
            listener_close(&supervisor->control);
        }
    }
    if (code == EXIT_OK || options->control_is_named) {
        return code;
    }
    log_warning(EVENT_SOCKET_LOST,
                "no control socket: %s; the runtime serves without it. ASYA_CONTROL_PATH names another place, or "
                "is off",
                err->text);
    return EXIT_OK;
}

static int admin_open_port(struct supervisor *supervisor, struct error *err)
{
    const char *text = supervisor->options->http_address;
    struct address address = {0};
    int port = address_parse(text, &address) ? port_open(&address) : -EINVAL;
    int status = port < 0 ? port : desk_set_door(&supervisor->desk, DESK_PORT, port);
    if (status < 0) {
        error_set(err, ERR_SERVER, 0, "cannot listen on %s (ASYA_HTTP_ADDR): %s", text, strerror(-status));
        fd_close(&port);
        return EXIT_SOCKET;
    }
    return EXIT_OK;
}

int admin_open(struct supervisor *supervisor, struct error *err)
{
    const struct options *options = supervisor->options;
    struct desk *desk = &supervisor->desk;
    if (options->control_path[0] == '\0' && options->http_address[0] == '\0') {
        return EXIT_OK;
    }
    int status = desk_open(desk);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = desk};
    if (status == 0 && epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, desk->epoll, &event) != 0) {
        status = -errno;
    }
    if (status < 0) {
        error_set(err, ERR_SERVER, 0, "the supervisor cannot start: %s", strerror(-status));
        return EXIT_INTERNAL;
    }
    desk->context = supervisor;
    desk->answer = admin_answer;
    int code = options->control_path[0] != '\0' ? admin_open_control(supervisor, err) : EXIT_OK;
    if (code == EXIT_OK && options->http_address[0] != '\0') {
        code = admin_open_port(supervisor, err);
    }
    return code;
}

/* The file was removed, or another one is at its path. Nobody's message depends on it, so it is tried every second, and
 * said once that it does not work. */
static void admin_renew(struct supervisor *supervisor)
{
    struct error err;
    int old = -1;
    if (listener_renew(&supervisor->control, &old, &err) == LISTENER_RENEWED) {
        (void)desk_set_door(&supervisor->desk, DESK_CONTROL, supervisor->control.fd);
        fd_close(&old);
        supervisor->control_is_lost = false;
        log_info(EVENT_SOCKET_RESTORED, "the control socket %s was removed; it has been put back",
                 supervisor->control.path);
    } else if (!supervisor->control_is_lost) {
        supervisor->control_is_lost = true;
        log_warning(EVENT_SOCKET_LOST, "the control socket was removed and cannot be put back now: %s", err.text);
    }
}

void admin_check(struct supervisor *supervisor)
{
    if (supervisor->control.fd < 0) {
        return;
    }
    switch (listener_check(&supervisor->control)) {
    case LISTENER_OURS:
    case LISTENER_UNKNOWN:
        return;
    case LISTENER_GONE:
        admin_renew(supervisor);
        return;
    case LISTENER_TAKEN:
        if (!supervisor->control_is_lost) {
            supervisor->control_is_lost = true;
            log_warning(EVENT_SOCKET_LOST,
                        "something else is at %s now; the control socket cannot be reached until that is gone",
                        supervisor->control.path);
        }
        return;
    }
}

void admin_close(struct supervisor *supervisor)
{
    desk_close(&supervisor->desk);
    listener_close(&supervisor->control);
}
