#include "server/folder.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    REST_SIZE = 4096, /* of the path that is still to be walked; a link's target is put before it */
    LINKS_MAX = 40,   /* the kernel's limit */
};

/* The state of a walk down a path. */
struct walk {
    int at; /* the folder that has been reached */
    struct file_identity here;
    char rest[REST_SIZE];
    char name[FOLDER_NAME_SIZE]; /* path of `at` for messages, cut if it is too long */
    uint32_t root;               /* owner of "/" */
    uint32_t links;              /* links followed so far */
    struct folder_danger danger;
};

static bool folder_is_trusted(const struct walk *walk, uint32_t user)
{
    return user == 0 || user == walk->root || user == geteuid();
}

static int folder_fail(const struct walk *walk, const char *name, int error, struct error *err)
{
    char user[32] = "";
    if (error == EACCES || error == EPERM) { /* which depends on who asks: a pod's user is often not known by heart */
        (void)snprintf(user, sizeof user, " (uid %u)", geteuid());
    }
    (void)error_set(err, ERR_SERVER, 0, "cannot open or make the socket's folder: %s%s%s: %s", walk->name, name, user,
                    strerror(error));
    return -error;
}

/* Appends to the path for messages. */
static void folder_show(struct walk *walk, const char *text)
{
    size_t used = strlen(walk->name);
    text_copy(walk->name + used, sizeof walk->name - used, text);
}

/* The walk has reached the folder `fd`, and takes it over. */
static void folder_enter(struct walk *walk, int *fd, const struct file_identity *found)
{
    bool mounted = walk->at >= 0 && found->device != walk->here.device;
    fd_close(&walk->at);
    walk->at = fd_take(fd);
    walk->here = *found;
    enum folder_danger_kind kind = FOLDER_SAFE;
    if (!folder_is_trusted(walk, found->owner)) {
        kind = FOLDER_FOREIGN;
    } else if ((found->mode & S_IWOTH) != 0 && (found->mode & S_ISVTX) == 0) {
        kind = mounted ? FOLDER_SHARED : FOLDER_OPEN;
    }
    if (kind != FOLDER_SAFE) {
        walk->danger = (struct folder_danger){.kind = kind, .owner = found->owner};
        text_copy(walk->danger.name, sizeof walk->danger.name, walk->name);
    }
}

/* Begins a walk at `from`: "/" or the working directory. */
static int folder_begin(struct walk *walk, const char *from, struct error *err)
{
    struct file_identity found = {0};
    FD_SCOPED int fd = open(from, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int status = fd >= 0 ? fd_stat(fd, &found) : -errno;
    walk->name[0] = '\0';
    if (status < 0) {
        return folder_fail(walk, from, -status, err);
    }
    fd_close(&walk->at);
    folder_show(walk, from);
    folder_enter(walk, &fd, &found);
    return 0;
}

/* Follows the link `fd`: its target is put before the rest of the path. */
static int folder_follow(struct walk *walk, const char *name, int fd, const struct file_identity *link,
                         struct error *err)
{
    if (!folder_is_trusted(walk, link->owner)) {
        (void)error_set(err, ERR_SERVER, 0,
                        "the socket's path leads through %s%s, a symbolic link of user %u, who could point it "
                        "anywhere; only links of root or of the runtime's own user are followed",
                        walk->name, name, link->owner);
        return -ELOOP;
    }
    char target[REST_SIZE];
    ssize_t size = readlinkat(fd, "", target, sizeof target);
    if (size < 0) {
        return folder_fail(walk, name, errno, err);
    }
    size_t rest = strlen(walk->rest);
    if (++walk->links > LINKS_MAX || (size_t)size + 1 + rest + 1 > sizeof walk->rest) {
        return folder_fail(walk, name, ELOOP, err);
    }
    memmove(walk->rest + size + 1, walk->rest, rest + 1);
    memcpy(walk->rest, target, (size_t)size);
    walk->rest[size] = '/';
    return walk->rest[0] == '/' ? folder_begin(walk, "/", err) : 0;
}

/* Walks on to `name`, and makes that folder if it is missing. */
static int folder_step(struct walk *walk, const char *name, struct error *err)
{
    const int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
    FD_SCOPED int fd = openat(walk->at, name, flags);
    if (fd < 0 && errno == ENOENT && (mkdirat(walk->at, name, 0755) == 0 || errno == EEXIST)) {
        fd = openat(walk->at, name, flags);
    }
    struct file_identity found = {0};
    int status = fd >= 0 ? fd_stat(fd, &found) : -errno;
    if (status == 0 && S_ISLNK(found.mode)) {
        return folder_follow(walk, name, fd, &found, err);
    }
    if (status == 0 && !S_ISDIR(found.mode)) {
        status = -ENOTDIR;
    }
    if (status < 0) {
        return folder_fail(walk, name, -status, err);
    }
    folder_show(walk, name);
    folder_enter(walk, &fd, &found);
    folder_show(walk, "/");
    return 0;
}

/* Takes the first name off the rest of the path. False at the end. */
static bool folder_next_name(struct walk *walk, char name[NAME_MAX + 1], bool *ret_fits)
{
    const char *from = walk->rest + strspn(walk->rest, "/");
    size_t size = strcspn(from, "/");
    *ret_fits = size <= NAME_MAX;
    if (size == 0 || !*ret_fits) {
        return false;
    }
    memcpy(name, from, size);
    name[size] = '\0';
    memmove(walk->rest, from + size, strlen(from + size) + 1);
    return true;
}

static int folder_walk_down(struct walk *walk, struct error *err)
{
    char name[NAME_MAX + 1];
    bool fits;
    while (folder_next_name(walk, name, &fits)) {
        int status = folder_step(walk, name, err);
        if (status < 0) {
            return status;
        }
    }
    return fits ? 0 : folder_fail(walk, walk->rest, ENAMETOOLONG, err);
}

int folder_open(const char *path, struct folder_danger *ret_danger, struct error *err)
{
    struct walk walk = {.at = -1};
    struct file_identity root;
    walk.root = fd_stat_at(AT_FDCWD, "/", &root) == 0 ? root.owner : 0;
    size_t size = strlen(path);
    if (size >= sizeof walk.rest) {
        return folder_fail(&walk, "", ENAMETOOLONG, err);
    }
    memcpy(walk.rest, path, size + 1);
    int status = folder_begin(&walk, path[0] == '/' ? "/" : ".", err);
    if (path[0] != '/') {
        folder_show(&walk, "/");
    }
    if (status == 0) {
        status = folder_walk_down(&walk, err);
    }
    if (status < 0) {
        fd_close(&walk.at);
        return status;
    }
    *ret_danger = walk.danger;
    return walk.at;
}

void folder_warn(const struct folder_danger *danger)
{
    static const char consequence[] = "can put another socket in the place of ours and get its requests";
    switch (danger->kind) {
    case FOLDER_SAFE:
        return;
    case FOLDER_FOREIGN:
        log_warning(EVENT_SOCKET_FOLDER, "the socket's folder %s belongs to user %u, who %s", danger->name,
                    danger->owner, consequence);
        return;
    case FOLDER_OPEN:
        log_warning(EVENT_SOCKET_FOLDER,
                    "everybody may write to the socket's folder %s, which has no sticky bit: each %s", danger->name,
                    consequence);
        return;
    case FOLDER_SHARED:
        log_info(EVENT_SOCKET_FOLDER,
                 "the socket's folder %s is a volume that everybody who has it mounted may write to", danger->name);
        return;
    }
}
