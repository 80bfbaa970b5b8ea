#include "app/configmap.h"

#include "app/output.h"
#include "app/single_file.h"
#include "base/buffer.h"
#include "base/exits.h"
#include "base/log.h"
#include "base/view.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

enum { LABEL_MAX = 63, SUBDOMAIN_MAX = 253 };

/* `kubectl apply` keeps a copy of the object in an annotation, and Kubernetes limits the size of all annotations to
 * this. A quotation mark or backslash of the file takes two bytes in it. */
enum { ANNOTATION_MAX = 262144, ANNOTATION_RESERVE = 6144 };

struct request {
    const char *name;
    const char *namespace; /* NULL for none */
    const char *machine;   /* for which machine the image is kept: a name of single_file.h, or "all" */
};

static bool is_alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

/* RFC 1123: a label has lower-case letters, digits and hyphens inside; a subdomain is labels separated by dots. */
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

static bool is_machine(const char *text)
{
    return strcmp(text, "x86_64") == 0 || strcmp(text, "aarch64") == 0 || strcmp(text, "all") == 0;
}

static bool configmap_read_arguments(struct request *request, int count, const char *const *arguments)
{
    for (int i = 0; i < count; i++) {
        bool is_last = i + 1 == count;
        if (!is_last && strcmp(arguments[i], "--name") == 0 && is_name(arguments[i + 1], true)) {
            request->name = arguments[++i];
        } else if (!is_last && strcmp(arguments[i], "--namespace") == 0 && is_name(arguments[i + 1], false)) {
            request->namespace = arguments[++i];
        } else if (!is_last && strcmp(arguments[i], "--machine") == 0 && is_machine(arguments[i + 1])) {
            request->machine = arguments[++i];
        } else {
            log_error(EVENT_COMMAND_FAILED,
                      "configmap: bad argument '%s'%s%s; usage: asya_runtime.py configmap [--name NAME] "
                      "[--namespace NAMESPACE] [--machine x86_64|aarch64|all]",
                      arguments[i], is_last ? "" : " ", is_last ? "" : arguments[i + 1]);
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

/* Removes what was not asked for. By default all stays if kubectl can keep a copy of that, otherwise only this
 * machine's image. With one image the commands of a desk go, too: a pod has no use for them, and kubectl's copy no
 * room. Tells on standard error what the choice means. */
static bool choose_parts(const struct request *request, struct buffer *file)
{
    struct utsname host;
    const char *machine = request->machine;
    bool fits = file->size + ANNOTATION_RESERVE <= ANNOTATION_MAX;
    if (machine == NULL && !fits && single_file_images(file) > 1 && uname(&host) == 0) {
        machine = host.machine;
        log_warning(
            EVENT_COMMAND_FAILED,
            "configmap: with the image for %s alone, so that `kubectl apply` can keep a copy; for a cluster with "
            "both kinds of processors: --machine all, and `kubectl apply --server-side`",
            machine);
    } else if (!fits && machine != NULL && strcmp(machine, "all") == 0) {
        log_warning(EVENT_COMMAND_FAILED,
                    "configmap: too large for the copy that `kubectl apply` keeps: use `kubectl apply --server-side`");
    }
    if (machine == NULL ? fits : strcmp(machine, "all") == 0) {
        return true;
    }
    single_file_drop_desk(file);
    if (machine == NULL || single_file_keep_image(file, machine)) {
        return true;
    }
    log_error(EVENT_COMMAND_FAILED, "configmap: this file has no image for %s", machine);
    return false;
}

int configmap_run(const char *program, int count, const char *const *arguments)
{
    struct request request = {.name = "asya-runtime"};
    if (!configmap_read_arguments(&request, count, arguments)) {
        return EXIT_OPTION;
    }
    struct buffer file = buffer_make(SINGLE_FILE_MAX);
    int status = single_file_read(program, &file);
    bool written = false;
    if (status < 0) {
        log_error(EVENT_COMMAND_FAILED, "configmap: cannot read this program's own file '%s': %s", program,
                  strerror(-status));
    } else if (!single_file_is_whole(&file)) {
        log_error(EVENT_COMMAND_FAILED,
                  "configmap: '%s' is not the single file asya_runtime.py as it was built; run that one", program);
    } else if (choose_parts(&request, &file)) {
        written = write_configmap(&request, &file);
        if (!written) {
            log_error(EVENT_COMMAND_FAILED, "configmap: cannot write: %s", strerror(errno));
        }
    }
    buffer_done(&file);
    return written ? EXIT_OK : EXIT_FAILED;
}
