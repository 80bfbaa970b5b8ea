#include "server/record.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"
#include "base/timestamp.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    HEAD_SIZE = 8192,    /* bytes of what stands before the message; longer names are cut */
    OLDEST = 16,         /* files that one look at the folder finds */
    LISTING_SIZE = 8192, /* bytes of a part of the folder's listing */
    RUNNING_MODE = 0400, /* of the file of a request that has not ended */
    FAILED_MODE = 0600,
    PATH_SIZE = OPTION_PATH_SIZE + RECORD_NAME_SIZE + 2,
    STAMP_SIZE = sizeof "2026-11-29T221142.500Z" - 1,
};

#define SUFFIX     ".recorded"
#define WARN_PAUSE (60 * CLOCK_SECOND)

/* Set before the first fork. */
static struct {
    char folder[OPTION_PATH_SIZE]; /* absolute; "": nothing is recorded */
    const struct options *options;
    uint64_t epoch;     /* what clock_now() and the time since 1970 differ by */
    uint64_t warned_at; /* by clock_now(); 0: never */
} recorder;

static void record_warn(const char *path, int error)
{
    uint64_t now = clock_now();
    if (recorder.warned_at == 0 || now - recorder.warned_at >= WARN_PAUSE) {
        recorder.warned_at = now;
        log_warning(EVENT_RUNTIME_DEGRADED,
                    "cannot record requests: %s: %s; they are served all the same, and this is said once a minute",
                    path, strerror(error));
    }
}

bool record_open(const struct options *options, struct error *err)
{
    const char *folder = options->record_dir;
    size_t used = 0;
    if (folder[0] == '\0') {
        return true;
    }
    if (folder[0] != '/') { /* the function may change its working directory */
        long size = syscall(SYS_getcwd, recorder.folder, sizeof recorder.folder);
        used = size > 0 ? (size_t)size - 1 : 0;
        recorder.folder[used++] = '/';
    }
    size_t rest = strlen(folder);
    int status = used + rest < sizeof recorder.folder ? 0 : -ENAMETOOLONG;
    if (status == 0) {
        memcpy(recorder.folder + used, folder, rest + 1);
        status = mkdirat(AT_FDCWD, recorder.folder, 0700) == 0 || errno == EEXIST ? 0 : -errno;
    }
    FD_SCOPED int opened = status == 0 ? open(recorder.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (opened < 0) {
        recorder.folder[0] = '\0';
        return error_set(err, ERR_SERVER, 0, "ASYA_RECORD_DIR is '%s', which should be a folder: %s", folder,
                         strerror(status < 0 ? -status : errno));
    }
    recorder.options = options;
    recorder.epoch = timestamp_now() - clock_now();
    if (syscall(SYS_faccessat, AT_FDCWD, recorder.folder, W_OK | X_OK) != 0) {
        record_warn(recorder.folder, errno);
    }
    return true;
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

const char *record_folder(void) { return recorder.folder; }

void record_name(const struct record *record, int pid, char name[RECORD_NAME_SIZE])
{
    char time[TIMESTAMP_SIZE];
    name[0] = '\0';
    if (record->since == 0) {
        return;
    }
    timestamp_write(recorder.epoch + record->since, time);
    (void)snprintf(name, RECORD_NAME_SIZE, "%.13s%.2s%s-%d-%llu" SUFFIX, time, time + 14, time + 17, pid,
                   (unsigned long long)record->sequence);
}

/* The process whose file it is; 0 if the name is none of ours. */
static int record_owner(const char *name)
{
    uint64_t pid = 0;
    size_t size = strlen(name);
    if (size <= STAMP_SIZE + sizeof SUFFIX || size >= RECORD_NAME_SIZE || name[10] != 'T' || name[STAMP_SIZE] != '-' ||
        strcmp(name + size - (sizeof SUFFIX - 1), SUFFIX) != 0) {
        return 0;
    }
    const char *end = text_number(name + STAMP_SIZE + 1, &pid);
    return end != NULL && *end == '-' && pid <= INT32_MAX ? (int)pid : 0;
}

/* Of a file of this process. */
static void record_path(const struct record *record, const char *dot, char path[PATH_SIZE])
{
    char name[RECORD_NAME_SIZE];
    record_name(record, getpid(), name);
    (void)snprintf(path, PATH_SIZE, "%s/%s%s", recorder.folder, dot, name);
}

struct record record_of(const struct scoreboard_slot *slot)
{
    if (slot == NULL || atomic_load_explicit(&slot->recorded, memory_order_relaxed) == 0) {
        return (struct record){0};
    }
    return (struct record){.since = atomic_load_explicit(&slot->since, memory_order_relaxed),
                           .sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed)};
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static size_t record_line(char *head, size_t used, const char *name, struct view value)
{
    if (value.size > 0 && used + strlen(name) + value.size + 4 < HEAD_SIZE) {
        used += (size_t)snprintf(head + used, HEAD_SIZE - used, "%s: %.*s\n", name, (int)value.size, value.data);
    }
    return used;
}

static size_t record_head(const struct request *request, char head[HEAD_SIZE])
{
    static const char *const protocols[] = {
        [PROTOCOL_RAW] = "raw", [PROTOCOL_FRAMED] = "framed", [PROTOCOL_HTTP] = "http"};
    const struct options *options = recorder.options;
    char time[TIMESTAMP_SIZE];
    char size[24];
    bool is_whole = options->handler_mode == HANDLER_ENVELOPE;
    timestamp_write(timestamp_now(), time);
    (void)snprintf(size, sizeof size, "%zu", request->size);
    size_t used = record_line(head, 0, "asya-recorded", view_of(time));
    used = record_line(head, used, options->function_variable, view_of(options->process_module));
    used = record_line(head, used, "ASYA_HANDLER_MODE", view_of(is_whole ? "envelope" : "payload"));
    used = record_line(head, used, "ASYA_ENABLE_VALIDATION", view_of(options->enable_validation ? "true" : "false"));
    used = record_line(head, used, "protocol", view_of(protocols[request->protocol]));
    used = record_line(head, used, "id", request->id);
    used = record_line(head, used, "traceparent", request->traceparent);
    used = record_line(head, used, "tracestate", request->tracestate);
    used = record_line(head, used, "size", view_of(size));
    head[used++] = '\n';
    return used;
}

/* Returns 0 or -errno. */
static int record_write_all(int file, const void *bytes, size_t size)
{
    const unsigned char *from = bytes;
    while (size > 0) {
        ssize_t written = write(file, from, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return written < 0 ? -errno : -ENOSPC;
        }
        from += written;
        size -= (size_t)written;
    }
    return 0;
}

static int record_write(const char *path, const struct request *request)
{
    char head[HEAD_SIZE];
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, RUNNING_MODE);
    if (file < 0) {
        return -errno;
    }
    int status = record_write_all(file, head, record_head(request, head));
    if (status == 0) {
        status = record_write_all(file, request->message, request->size);
    }
    return close(file) == 0 || status < 0 ? status : -errno; /* a network file system may only say it now */
}

void record_begin(const struct request *request)
{
    char path[PATH_SIZE];
    char hidden[PATH_SIZE];
    if (recorder.folder[0] == '\0' || request->slot == NULL || request->size > RECORD_BYTES) {
        return;
    }
    atomic_store_explicit(&request->slot->recorded, 1, memory_order_relaxed);
    struct record record = record_of(request->slot);
    record_path(&record, "", path);
    record_path(&record, ".", hidden);
    int status = record_write(hidden, request);
    if (status == 0 && rename(hidden, path) != 0) {
        status = -errno;
    }
    if (status < 0) {
        atomic_store_explicit(&request->slot->recorded, 0, memory_order_relaxed);
        record_warn(hidden, -status);
        (void)unlink(hidden);
    }
}

/* ---- the bounds ------------------------------------------------------------------------------------------------- */

/* What a look at the folder has found. */
struct record_folder {
    uint32_t files;
    uint64_t bytes;
    uint32_t count; /* of the oldest ones that may go */
    struct record_old {
        char name[RECORD_NAME_SIZE + 1]; /* as in the folder: a dot may stand before it */
        uint64_t size;
    } oldest[OLDEST];
};

static const char *record_stamp(const char *name) { return name + (name[0] == '.'); }

/* Puts it in its place, by age. */
static void record_note_old(struct record_folder *folder, const char *name, uint64_t size)
{
    uint32_t place = folder->count;
    while (place > 0 && strcmp(record_stamp(folder->oldest[place - 1].name), record_stamp(name)) > 0) {
        place--;
    }
    if (place == OLDEST) {
        return;
    }
    folder->count += folder->count < OLDEST;
    memmove(folder->oldest + place + 1, folder->oldest + place, (folder->count - place - 1) * sizeof folder->oldest[0]);
    text_copy(folder->oldest[place].name, sizeof folder->oldest[place].name, name);
    folder->oldest[place].size = size;
}

static void record_look_at(struct record_folder *folder, int fd, const char *name)
{
    struct file_identity found;
    int owner = record_owner(record_stamp(name));
    if (owner == 0 || fd_stat_at(fd, name, &found) < 0 || !S_ISREG(found.mode)) {
        return;
    }
    folder->files++;
    folder->bytes += found.size;
    bool is_running = (found.mode & S_IWUSR) == 0 && (kill(owner, 0) == 0 || errno == EPERM);
    if (!is_running) {
        record_note_old(folder, name, found.size);
    }
}

/* As the kernel has it (getdents64(2)). */
struct record_entry {
    uint64_t inode;
    int64_t offset;
    uint16_t size;
    uint8_t type;
    char name[];
};

static bool record_look(struct record_folder *folder, int fd)
{
    alignas(struct record_entry) char listing[LISTING_SIZE];
    long size;
    *folder = (struct record_folder){0};
    while ((size = syscall(SYS_getdents64, fd, listing, sizeof listing)) > 0) {
        for (long at = 0; at < size;) {
            const struct record_entry *entry = (const void *)(listing + at);
            record_look_at(folder, fd, entry->name);
            at += entry->size;
        }
    }
    return size == 0;
}

/* Removes the oldest ones until the rest is within the bounds. */
static void record_trim(void)
{
    static struct record_folder folder;
    bool more = true;
    while (more) {
        FD_SCOPED int fd = open(recorder.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        more = false;
        if (fd < 0 || !record_look(&folder, fd)) {
            record_warn(recorder.folder, errno);
            return;
        }
        for (uint32_t i = 0; i < folder.count && (folder.files > RECORD_FILES || folder.bytes > RECORD_BYTES); i++) {
            const struct record_old *old = &folder.oldest[i];
            if (unlinkat(fd, old->name, 0) != 0 && errno != ENOENT) { /* another worker may have been quicker */
                record_warn(recorder.folder, errno);
                return;
            }
            folder.files--;
            folder.bytes -= old->size;
            more = i + 1 == OLDEST;
        }
    }
}

void record_begin_worker(void)
{
    if (recorder.folder[0] != '\0') {
        record_trim();
    }
}

void record_end(const struct record *record, bool succeeded)
{
    char path[PATH_SIZE];
    if (record->since == 0) {
        return;
    }
    record_path(record, "", path);
    if (succeeded) {
        (void)unlink(path);
        return;
    }
    FD_SCOPED int file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (file >= 0) {
        (void)fchmod(file, FAILED_MODE);
    }
    record_trim();
}
