/* What the control socket can have the runtime do (docs/operating.md). Nothing here waits: what takes time goes on in
 * the loop, and /status shows how far it is. */
#include "base/clock.h"
#include "base/log.h"
#include "server/cancel.h"
#include "supervisor/state.h"
#include "json/writer.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { VERBS_WORD_SIZE = 16 };

/* {KEY:VALUE}, a text or a number. */
static bool verbs_say(struct desk_reply *reply, const char *key, const char *text, uint32_t number)
{
    char digits[16];
    struct writer writer = writer_make(&reply->body);
    (void)snprintf(digits, sizeof digits, "%u", (unsigned)number);
    writer_open(&writer, '{');
    writer_key(&writer, key);
    if (text != NULL) {
        writer_text(&writer, view_of(text));
    } else {
        writer_token(&writer, digits);
    }
    writer_close(&writer, '}');
    (void)buffer_append(&reply->body, "\n", 1);
    return true;
}

bool verbs_refuse(struct desk_reply *reply, unsigned status, const char *code, const char *text)
{
    struct writer writer = writer_make(&reply->body);
    reply->status = status;
    writer_open(&writer, '{');
    writer_key(&writer, "error");
    writer_text(&writer, view_of(code));
    writer_key(&writer, "message");
    writer_text(&writer, view_of(text));
    writer_close(&writer, '}');
    (void)buffer_append(&reply->body, "\n", 1);
    return true;
}

/* ---- drain ------------------------------------------------------------------------------------------------------ */

static void verbs_set_draining(struct supervisor *supervisor, bool is_draining)
{
    if (supervisor->is_draining == is_draining) {
        return;
    }
    supervisor->is_draining = is_draining;
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        state_tell_worker(supervisor, &supervisor->workers[i]);
    }
    socket_file_show_readiness(supervisor);
    log_info(EVENT_RUNTIME_DRAINING, "%s",
             is_draining ? "draining: readiness probes fail; messages that arrive are still served"
                         : "no longer draining");
}

bool verbs_drain(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply)
{
    (void)request;
    verbs_set_draining(supervisor, true);
    return verbs_say(reply, "status", "draining", 0);
}

bool verbs_undrain(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply)
{
    (void)request;
    verbs_set_draining(supervisor, false);
    return verbs_say(reply, "status", state_is_ready(supervisor) ? "ready" : "not ready", 0);
}

/* ---- recycle ---------------------------------------------------------------------------------------------------- */

/* Every worker that serves is replaced, one after the other (replace.c). A successor that could not load the function,
 * and waits for its next start, is started now. */
bool verbs_recycle(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply)
{
    uint32_t count = 0;
    (void)request;
    template_renew(supervisor, "POST /recycle");
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        struct worker *worker = &supervisor->workers[i];
        if (worker->state == WORKER_DOWN && worker->replaces != WORKER_NONE) {
            worker->spawn_at = clock_now();
        }
        worker->due = worker->due || (worker->spare && worker->state != WORKER_READY); /* spares_tend() ends it */
        count += worker->state == WORKER_READY && !worker->due;
        replace_worker(supervisor, worker, "POST /recycle");
    }
    if (supervisor->phase != PHASE_SERVING || (count == 0 && state_count(supervisor, WORKER_READY) == 0)) {
        return verbs_refuse(reply, 503, "not_ready", "no worker is ready that could be replaced");
    }
    return verbs_say(reply, "replacing", NULL, count);
}

/* ---- log level -------------------------------------------------------------------------------------------------- */

static struct view verbs_skip(struct view text, const char *bytes)
{
    while (text.size > 0 && strchr(bytes, text.data[0]) != NULL && text.data[0] != '\0') {
        text.data++;
        text.size--;
    }
    return text;
}

/* Takes `token` away, and white space before it. False if something else is there. */
static bool verbs_take(struct view *text, const char *token)
{
    size_t size = strlen(token);
    *text = verbs_skip(*text, " \t\r\n");
    if (text->size < size || memcmp(text->data, token, size) != 0) {
        return false;
    }
    text->data += size;
    text->size -= size;
    return true;
}

/* A word: DEBUG, or {"level":"DEBUG"}. */
static bool verbs_read_level(struct view body, enum log_level *ret_level)
{
    char word[VERBS_WORD_SIZE];
    size_t size = 0;
    bool is_object = verbs_take(&body, "{");
    if (is_object && !(verbs_take(&body, "\"level\"") && verbs_take(&body, ":") && verbs_take(&body, "\""))) {
        return false;
    }
    body = verbs_skip(body, is_object ? "" : " \t\r\n");
    while (size < body.size && size < sizeof word - 1 && strchr(" \t\r\n\"{}", body.data[size]) == NULL) {
        word[size] = body.data[size];
        size++;
    }
    word[size] = '\0';
    body.data += size;
    body.size -= size;
    if (is_object && !(verbs_take(&body, "\"") && verbs_take(&body, "}"))) {
        return false;
    }
    return verbs_skip(body, " \t\r\n").size == 0 && options_parse_level(word, ret_level);
}

bool verbs_log_level(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply)
{
    enum log_level level;
    if (!verbs_read_level(request->body, &level)) {
        return verbs_refuse(reply, 400, "bad_request",
                            "the body should be DEBUG, INFO, WARNING or ERROR, or {\"level\":\"DEBUG\"}");
    }
    log_set_level(level);
    supervisor->has_new_level = true;
    for (uint32_t i = 0; i < supervisor->worker_count; i++) {
        struct worker *worker = &supervisor->workers[i];
        state_tell_worker(supervisor, worker);
        if (worker->pid > 0) {
            (void)kill(worker->pid, NEWS_SIGNAL);
        }
    }
    return verbs_say(reply, "level", options_level_name(level), 0);
}

/* ---- stacks ----------------------------------------------------------------------------------------------------- */

bool verbs_stacks(struct supervisor *supervisor, const struct desk_request *request, struct desk_reply *reply)
{
    (void)reply;
    snapshot_begin(supervisor, &request->ticket);
    return false;
}
