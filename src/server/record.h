/*
 * Recording (ASYA_RECORD_DIR): the requests that fail, as files that `call @FILE` sends again (docs/operating.md).
 *
 * A request is written to its file before the function is called, and the file is removed when the request has
 * succeeded. So a request is kept even if its worker, or the whole runtime, is killed: the files that are left in the
 * folder are those of requests that failed or had not ended. The price is one file for each request, and the worker's
 * time for it before the call and after the reply; without ASYA_RECORD_DIR it costs nothing.
 *
 *   record_begin   .NAME is written, then renamed to NAME: a file under its name is whole. Mode 0400
 *   record_end     succeeded: removed. Failed: mode 0600
 *   record_trim    removes the oldest files beyond RECORD_FILES and RECORD_BYTES, but none of mode 0400 whose process
 * lives
 *
 * Files are created with O_EXCL and O_NOFOLLOW, so no link that somebody has put there is followed. If files cannot be
 * written, there is one warning a minute, and requests are served as usual. A name begins with the time, so that names
 * sort by age, and supervisor and worker both derive it from the slot. Processes of several runtimes may share a
 * folder.
 *
 * A file has a head of lines `name: value`, an empty line, and the message as it arrived, without the HTTP head or the
 * length prefix. The file's head has the settings that affect how a message is handled, its protocol, and what was used
 * of its HTTP head. inject/commands/recorded.py reads it.
 */
#ifndef ASYA_SERVER_RECORD_H
#define ASYA_SERVER_RECORD_H

#include "base/options.h"
#include "server/scoreboard.h"
#include "server/service.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    RECORD_NAME_SIZE = INCIDENT_FILE_SIZE,
    RECORD_FILES = 100, /* so many are kept */
    RECORD_BYTES = 64 << 20,
};

/* Begins to record if the settings say so. To be called before any worker is forked. Makes the folder, mode 0700, but
 * not the ones above it. False if it is not there then. */
bool record_open(const struct options *options, struct error *err);

/* To be called when a worker starts: removes the oldest files of earlier ones (record_trim). */
void record_begin_worker(void);

/* Writes the request to its file, if requests are recorded. slot->recorded says whether it is there. */
void record_begin(const struct request *request);

/* Identifies the file of a request. Copied from the slot, which may have another request when this one ends. */
struct record {
    uint64_t since; /* 0: there is no file */
    uint64_t sequence;
};

/* The file of the request in `slot`, which may be NULL. */
struct record record_of(const struct scoreboard_slot *slot);

/* The request has ended, and its reply is out. */
void record_end(const struct record *record, bool succeeded);

/* The name of the file of a request of the process `pid`; "" if there is none. */
void record_name(const struct record *record, int pid, char name[RECORD_NAME_SIZE]);

/* The folder, absolute. "" if nothing is recorded. */
const char *record_folder(void);

#endif
