/* The runtime as a whole: options, supervisor, workers. Needs the GIL and the main thread. */
#ifndef ASYA_APP_SERVE_H
#define ASYA_APP_SERVE_H

/* Serves as the environment says until stopped. Returns the exit code of this process, which may be a worker's. */
int serve(void);

#endif
