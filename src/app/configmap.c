#include "app/configmap.h"

#include "app/output.h"
#include "base/buffer.h"
#include "base/exits.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/view.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Kubernetes takes at most 1 MiB in a ConfigMap; the build refuses a file of 240 KB. */
enum { FILE_MAX = 1 << 20, READ_STEP = 1 << 16 };

enum { LABEL_MAX = 63, SUBDOMAIN_MAX = 253 };

struct request {
    const char *name;
    const char *namespace; /* NULL for none */
};

static bool is_alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

/* RFC 1123: lower-case labels of letters, digits and inner hyphens; a subdomain is labels between dots. */
static bool is_name(const char *text, bool may_have_dots)
{
    size_t size = strlen(text);
    if (size == 0 || size > (may_have_dots ? SUBDOMAIN_MAX : LABEL_MAX)) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        bool inside = i > 0 && i + 1 < size && text[i - 1] != '.' && text[i + 1] != '.';
        bool is_separator = text[i] == '-' || (may_have_dots && text[i] == '.');
        if (!is_alphanumeric(text[i]) && !(inside && is_separator && (text[i] == '-' || text[i - 1] != '-'))) {
            return false;
        }
    }
    return true;
}

static bool read_arguments(struct request *request, int count, const char *const *arguments)
{
    for (int i = 0; i < count; i++) {
        bool is_last = i + 1 == count;
        if (!is_last && strcmp(arguments[i], "--name") == 0 && is_name(arguments[i + 1], true)) {
            request->name = arguments[++i];
        } else if (!is_last && strcmp(arguments[i], "--namespace") == 0 && is_name(arguments[i + 1], false)) {
            request->namespace = arguments[++i];
        } else {
            log_error("configmap: bad argument '%s'%s%s; usage: asya_runtime.py configmap [--name NAME] "
                      "[--namespace NAMESPACE]",
                      arguments[i], is_last ? "" : " ", is_last ? "" : arguments[i + 1]);
            return false;
        }
    }
    return true;
}

/* Reads the whole file. Returns 0 or -errno; -EFBIG for more than FILE_MAX. */
static int read_file(const char *path, struct buffer *file)
{
    FD_SCOPED int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    for (;;) {
        enum buffer_status status = buffer_reserve(file, READ_STEP);
        if (status != BUFFER_OK) {
            return status == BUFFER_LIMIT ? -EFBIG : -ENOMEM;
        }
        ssize_t got = read(fd, file->data + file->size, READ_STEP);
        if (got == 0) {
            return 0;
        }
        if (got > 0) {
            file->size += (size_t)got;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
}

/* Whether these bytes are the single file as it was built: what the bundle puts into it, lines of printable ASCII, one
 * newline at the end. Only so is a YAML literal block the same bytes. */
static bool is_single_file(const struct buffer *file)
{
    static const char start[] = "#!/usr/bin/env python3\n\"\"\"Asya runtime " ASYA_VERSION ":";
    if (file->size < sizeof start || memcmp(file->data, start, sizeof start - 1) != 0 ||
        file->data[file->size - 1] != '\n' || file->data[file->size - 2] == '\n') {
        return false;
    }
    for (size_t i = 0; i < file->size; i++) {
        if (file->data[i] != '\n' && (file->data[i] < ' ' || file->data[i] > '~')) {
            return false;
        }
    }
    return true;
}

static bool write_block(const struct buffer *file)
{
    const char *rest = (const char *)file->data;
    const char *end = rest + file->size;
    while (rest < end) {
        const char *newline = memchr(rest, '\n', (size_t)(end - rest));
        const char *next = newline != NULL ? newline + 1 : end;
        if ((*rest != '\n' && !output_write(view_of("    "))) ||
            !output_write((struct view){rest, (size_t)(next - rest)})) {
            return false;
        }
        rest = next;
    }
    return true;
}

static bool write_configmap(const struct request *request, const struct buffer *file)
{
    bool written = output_write(view_of("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: \"")) &&
                   output_write(view_of(request->name)) && output_write(view_of("\"\n"));
    if (written && request->namespace != NULL) {
        written = output_write(view_of("  namespace: \"")) && output_write(view_of(request->namespace)) &&
                  output_write(view_of("\"\n"));
    }
    return written &&
           output_write(view_of("  labels:\n    app.kubernetes.io/name: asya-runtime\n"
                                "    app.kubernetes.io/version: \"" ASYA_VERSION "\"\n"
                                "data:\n  asya_runtime.py: |\n")) &&
           write_block(file);
}

int configmap_run(const char *program, int count, const char *const *arguments)
{
    struct request request = {.name = "asya-runtime"};
    if (!read_arguments(&request, count, arguments)) {
        return EXIT_OPTION;
    }
    struct buffer file = buffer_make(FILE_MAX + READ_STEP);
    int status = read_file(program, &file);
    bool written = false;
    if (status < 0) {
        log_error("configmap: cannot read this program's own file '%s': %s", program, strerror(-status));
    } else if (!is_single_file(&file)) {
        log_error("configmap: '%s' is not the single file asya_runtime.py as it was built; run that one", program);
    } else {
        written = write_configmap(&request, &file);
        if (!written) {
            log_error("configmap: cannot write: %s", strerror(errno));
        }
    }
    buffer_done(&file);
    return written ? EXIT_OK : EXIT_FAILED;
}
