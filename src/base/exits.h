/* Exit codes of the runtime (docs/errors.md). Numbers follow sysexits.h where that has one. */
#ifndef ASYA_BASE_EXITS_H
#define ASYA_BASE_EXITS_H

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,     /* a command failed: the probe found the runtime unhealthy, or the command could not be done */
    EXIT_OPTION = 64,    /* a command-line option or environment variable has no usable value */
    EXIT_SYNTAX = 65,    /* the handler's module does not compile */
    EXIT_NO_MODULE = 66, /* the handler's module, or one it imports, does not exist */
    EXIT_NO_ATTRIBUTE = 67,  /* the module has no such name */
    EXIT_NOT_CALLABLE = 68,  /* the name is there but cannot be called */
    EXIT_CONSTRUCTOR = 69,   /* the class needs arguments */
    EXIT_INTERNAL = 70,      /* the runtime itself failed */
    EXIT_IMPORT = 71,        /* the module raised or exited while it was imported, or the constructor did */
    EXIT_START_TIMEOUT = 72, /* ASYA_STARTUP_TIMEOUT passed before the handler was ready */
    EXIT_SOCKET = 73,        /* the socket cannot be created where it should be */
    EXIT_SOCKET_LOST = 74,   /* something else is at the socket's path, or it cannot be put back */
    EXIT_RUNNING = 75,       /* another runtime serves this socket */
    EXIT_TAMPERED = 76,      /* of a worker only: the function closed or replaced the runtime's descriptors */
    EXIT_LACK = 77,          /* at the start: a limit of descriptors, processes or memory is too low */
    EXIT_INTERPRETER = 78,   /* the interpreter is too old or of another kind; used by the bootstrap */
};

#endif
