#include "folder.h"

#include "descriptors.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char own_folder[FOLDER_SIZE];

static void die(const char *what)
{
    perror(what);
    abort();
}

void folder_make(char folder[FOLDER_SIZE])
{
    (void)snprintf(folder, FOLDER_SIZE, "/tmp/asya-unit-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        die("folder: mkdtemp");
    }
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

void folder_remove(const char *folder) { (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS); }

int folder_begin(void **state)
{
    folder_make(own_folder);
    return descriptors_note(state);
}

int folder_end(void **state)
{
    int status = descriptors_check(state);
    folder_remove(own_folder);
    return status;
}

void path_in(char path[PATH_SIZE], const char *name)
{
    int size = snprintf(path, PATH_SIZE, "%s/%s", own_folder, name);
    if (size < 0 || size >= PATH_SIZE) {
        die("folder: the path is too long");
    }
}

size_t folder_count(const char *folder)
{
    DIR *directory = opendir(folder);
    if (directory == NULL) {
        die("folder: opendir");
    }
    size_t count = 0;
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(directory);
    return count;
}

void file_write(const char *path, const char *content)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0 || write(file, content, strlen(content)) != (ssize_t)strlen(content)) {
        die(path);
    }
    close(file);
}

bool file_is(const char *path, const char *content)
{
    char found[4096];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = file >= 0 ? read(file, found, sizeof found) : -1;
    if (file >= 0) {
        close(file);
    }
    return got == (ssize_t)strlen(content) && memcmp(found, content, (size_t)got) == 0;
}
