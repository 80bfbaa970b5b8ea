/*
 * Opens the socket's folder one name of the path at a time, to know who owns the folders and links on the way.
 *
 * A user who may write to a folder decides what is in it: renaming and removing a file needs no right to the file. So:
 *
 *   a symbolic link     is followed if root or our own user owns it (/var/run -> /run); another user could point it
 *                       anywhere
 *   a folder            that another user owns, or that everybody may write to and that has no sticky bit, is used
 *                       nevertheless, and reported in ret_danger
 *   a missing folder    is made with mode 0755 less the umask, so that never everybody may write to it
 *
 * The owner of "/" counts as root too: in a user namespace that may be a user id without a name. A folder that its
 * group may write to is not reported, since the owner chose that group.
 */
#ifndef ASYA_SERVER_FOLDER_H
#define ASYA_SERVER_FOLDER_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum { FOLDER_NAME_SIZE = 160 }; /* for the log: a longer path is cut */

enum folder_danger_kind {
    FOLDER_SAFE,
    FOLDER_FOREIGN, /* another user owns it */
    FOLDER_OPEN,    /* everybody may write to it */
    FOLDER_SHARED,  /* likewise, but it is the top of a mount: a pod's volume, which those who have it mounted may write
                       to */
};

struct folder_danger {
    enum folder_danger_kind kind;
    uint32_t owner;
    char name[FOLDER_NAME_SIZE]; /* the folder that is meant; the last one if there are several */
};

/* Opens the folder `path`, relative to the working directory if it does not begin with a slash, and makes missing
 * folders. Returns a descriptor for the *at() calls (O_PATH), which the caller owns, or -errno with `err`. */
int folder_open(const char *path, struct folder_danger *ret_danger, struct error *err);

/* Logs a danger as one line. */
void folder_warn(const struct folder_danger *danger);

#endif
