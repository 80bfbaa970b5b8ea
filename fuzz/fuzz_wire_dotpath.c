/* dotpath: steps that were read, written out again, are read as the same steps; what is refused says why. */
#include "wire/dotpath.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void require(bool truth)
{
    if (!truth) {
        abort();
    }
}

static size_t write_step(const struct dotpath_step *step, char *text, size_t size)
{
    switch (step->kind) {
    case DOTPATH_KEY:
        return (size_t)snprintf(text, size, "[\"%.*s\"]", (int)step->key.size, step->key.data);
    case DOTPATH_INDEX:
        return (size_t)snprintf(text, size, "[%lld]", (long long)step->index);
    case DOTPATH_SLICE:
        break;
    }
    size_t used = (size_t)snprintf(text, size, "[");
    if (step->has_start) {
        used += (size_t)snprintf(text + used, size - used, "%lld", (long long)step->index);
    }
    used += (size_t)snprintf(text + used, size - used, ":");
    if (step->has_stop) {
        used += (size_t)snprintf(text + used, size - used, "%lld", (long long)step->stop);
    }
    return used + (size_t)snprintf(text + used, size - used, "]");
}

static bool is_same(const struct dotpath_step *one, const struct dotpath_step *other)
{
    return one->kind == other->kind && one->key.size == other->key.size &&
           memcmp(one->key.data != NULL ? one->key.data : "", other->key.data != NULL ? other->key.data : "",
                  one->key.size) == 0 &&
           one->index == other->index && one->stop == other->stop && one->has_start == other->has_start &&
           one->has_stop == other->has_stop;
}

/* A slice may stand last in SET alone, and SET begins with a name: so do these. */
static void check_again(enum dotpath_verb verb, const struct dotpath *path, size_t size)
{
    size_t room = 2 * size + 64 * DOTPATH_STEPS_MAX;
    char *text = malloc(room);
    struct dotpath again;
    struct error err;
    size_t skip = 0;
    size_t used;
    if (verb == DOTPATH_GET) {
        used = (size_t)snprintf(text, room, ".");
    } else {
        used = (size_t)snprintf(text, room, ".headers");
        skip = 1;
    }
    size_t first = skip;
    if (verb != DOTPATH_GET && path->steps[0].key.size == strlen("route")) {
        first = 2; /* .route.next */
    }
    for (size_t i = first; i < path->count; i++) {
        used += write_step(&path->steps[i], text + used, room - used);
    }
    require(dotpath_parse(verb, (struct view){text, used}, &again, &err));
    require(again.count - skip == path->count - first);
    for (size_t i = first; i < path->count; i++) {
        require(is_same(&path->steps[i], &again.steps[i - first + skip]));
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size < 1 || memchr(data + 1, '\0', size - 1) != NULL) {
        return 0; /* a NUL in a key is a key like another, but ends what snprintf writes */
    }
    enum dotpath_verb verb = data[0] % 3;
    char *text = malloc(size);
    memcpy(text, data + 1, size - 1);
    text = realloc(text, size > 1 ? size - 1 : 1);
    struct dotpath path;
    struct error err = {0};
    if (dotpath_parse(verb, (struct view){text, size - 1}, &path, &err)) {
        require(path.count >= 1 && path.count <= DOTPATH_STEPS_MAX);
        check_again(verb, &path, size);
    } else {
        require(err.category == ERR_PROCESSING && err.text[0] != '\0' &&
                (strcmp(err.type, "ValueError") == 0 || strcmp(err.type, "PermissionError") == 0));
    }
    free(text);
    return 0;
}
