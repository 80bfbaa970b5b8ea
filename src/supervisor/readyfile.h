/* The ready-file: probes test for it. When it exists is decided in socket_file.c; it is never empty. */
#ifndef ASYA_SUPERVISOR_READYFILE_H
#define ASYA_SUPERVISOR_READYFILE_H

/* Writes "ready\n" to a temporary name beside `path` and renames it, so that a full disk never leaves an empty file
 * that a probe would believe. `path` may be "": nothing is done. Returns 0 or -errno. */
int readyfile_write(const char *path);

/* Removes it. "" does nothing; a file that is not there is fine. */
void readyfile_remove(const char *path);

#endif
