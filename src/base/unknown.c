#include "base/unknown.h"

#include "base/log.h"
#include "base/options.h"

#include <stdint.h>
#include <string.h>

extern char **environ;

enum { NEAR = 3, WARNINGS_MAX = 20 };

static const char *const foreign_prefixes[] = {
    "ASYA_RABBITMQ_", "ASYA_SQS_",     "ASYA_PUBSUB_", "ASYA_AWS_",   "ASYA_RESILIENCY_",
    "ASYA_GATEWAY_",  "ASYA_METRICS_", "ASYA_QUEUE_",  "ASYA_RETRY_", "ASYA_SINK_",
    "ASYA_PAUSE_",    "ASYA_RESUME_",  "ASYA_S3_",
};

static const char *const foreign_names[] = {
    "ASYA_ACTOR_NAME",
    "ASYA_ACTOR_SINK",
    "ASYA_ACTOR_SUMP",
    "ASYA_ACTOR_HAPPY_END",
    "ASYA_ACTOR_ERROR_END",
    "ASYA_NAMESPACE",
    "ASYA_TRANSPORT",
    "ASYA_IS_END_ACTOR",
    "ASYA_CUSTOM_METRICS",
    "ASYA_DATABASE_URL",
    "ASYA_PERSISTENCE_MOUNT",
    "ASYA_CHECKPOINT_MOUNT",
    "ASYA_MSG_ROOT",
    "ASYA_SOCKET_MESH_DIR",
    "ASYA_RUNTIME_TIMEOUT",
    "ASYA_RUNTIME_READY_TIMEOUT",
    "ASYA_CONFIG_PATH",
    "ASYA_CHUNK_SIZE",
    "ASYA_INCLUDE_ROUTE_INFO",
    "ASYA_INCLUDE_METADATA",
    "ASYA_READY_FILE",
    "ASYA_PYTHONEXECUTABLE",
    "ASYA_ENABLE_OOM_DETECTION",
    "ASYA_CUDA_CLEANUP_ON_OOM",
    "ASYA_LOAD", /* the loader's own (inject/bootstrap.py) */
};

/* Flows name the handler of each actor ASYA_HANDLER_<ACTOR>. */
static const char actor_prefix[] = "ASYA_HANDLER_";

bool unknown_is_foreign(const char *name)
{
    for (size_t i = 0; i < sizeof foreign_prefixes / sizeof foreign_prefixes[0]; i++) {
        if (strncmp(name, foreign_prefixes[i], strlen(foreign_prefixes[i])) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < sizeof foreign_names / sizeof foreign_names[0]; i++) {
        if (strcmp(name, foreign_names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

size_t unknown_distance(const char *a, const char *b)
{
    size_t row[UNKNOWN_NAME_MAX + 1];
    size_t size = strlen(b);
    if (size > UNKNOWN_NAME_MAX || strlen(a) > UNKNOWN_NAME_MAX) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= size; j++) {
        row[j] = j;
    }
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t corner = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < size; j++) {
            size_t changed = corner + (a[i] != b[j]);
            corner = row[j + 1];
            row[j + 1] = least(changed, least(corner, row[j]) + 1);
        }
    }
    return row[size];
}

/* The setting with the most similar name; `*ret_distance` is how many letters differ. */
static const char *find_nearest(const char *name, size_t *ret_distance)
{
    const char *nearest = "";
    *ret_distance = SIZE_MAX;
    const char *known;
    for (size_t i = 0; (known = options_name(i)) != NULL; i++) {
        size_t distance = unknown_distance(name, known);
        if (distance < *ret_distance) {
            *ret_distance = distance;
            nearest = known;
        }
    }
    return nearest;
}

/* Looks at one "NAME=VALUE". Returns whether it logged a warning. */
static bool look_at(const char *entry)
{
    char name[UNKNOWN_NAME_MAX + 1];
    size_t size = strcspn(entry, "=");
    if (strncmp(entry, "ASYA_", 5) != 0 || size > UNKNOWN_NAME_MAX) {
        return false;
    }
    memcpy(name, entry, size);
    name[size] = '\0';
    size_t distance;
    const char *nearest = find_nearest(name, &distance);
    bool is_actors = strncmp(name, actor_prefix, sizeof actor_prefix - 1) == 0;
    if (distance == 0 && options_names_actor(name, entry + size + 1)) {
        log_info(EVENT_SETTING_DERIVED, "%s names an actor's function, and is not read as a setting", name);
    }
    if (distance == 0 || unknown_is_foreign(name) || (is_actors && distance > NEAR)) {
        return false;
    }
    if (distance <= NEAR) {
        log_warning(EVENT_SETTING_IGNORED, "%s is not a setting of this runtime: did you mean %s?", name, nearest);
    } else {
        log_warning(EVENT_SETTING_IGNORED, "%s is not a setting of this runtime, and has no effect", name);
    }
    return true;
}

void unknown_warn(void)
{
    int warnings = 0;
    for (char **entry = environ; entry != NULL && *entry != NULL && warnings < WARNINGS_MAX; entry++) {
        warnings += look_at(*entry);
    }
}
