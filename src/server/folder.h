/*
 * The folder a socket lives in, found one name at a time, so that it is known whose folders and links lie on the way.
 *
 * Who may write to a folder decides what stands there: renaming and removing a file takes no right to the file. So
 *
 *   a symbolic link      is followed if it is root's or ours (/var/run -> /run); anybody else could point it anywhere
 *   a folder             of another user, or one that everybody may write to and that has no sticky bit, is used all
 *                        the same, and is what ret_danger tells of
 *   what is missing      is made with mode 0755 less the umask, so never open to everybody
 *
 * Root is whoever owns "/", too: in a user namespace that may be an id without a name. That a group may write to a
 * folder is nothing to tell: whoever made the folder chose that group.
 */
#ifndef ASYA_SERVER_FOLDER_H
#define ASYA_SERVER_FOLDER_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum { FOLDER_NAME_SIZE = 160 }; /* a longer path is cut where it is only shown */

enum folder_danger_kind {
    FOLDER_SAFE,
    FOLDER_FOREIGN, /* it belongs to another user */
    FOLDER_OPEN,    /* everybody may write to it */
    FOLDER_SHARED,  /* likewise, but it is the top of a mount: a volume of a pod, open to those who have it mounted */
};

struct folder_danger {
    enum folder_danger_kind kind;
    uint32_t owner;
    char name[FOLDER_NAME_SIZE]; /* the folder on the way that is meant; of several the last */
};

/* Opens the folder `path` (relative to the working directory, unless it begins with a slash), making what is missing of
 * it. Returns a descriptor for the *at() calls (O_PATH), which the caller owns, or -errno with `err`. */
int folder_open(const char *path, struct folder_danger *ret_danger, struct error *err);

/* Logs a danger, as one line. */
void folder_warn(const struct folder_danger *danger);

#endif
