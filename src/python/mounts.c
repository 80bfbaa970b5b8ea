#include "python/mounts.h"

#include "base/exits.h"
#include "base/log.h"
#include "python/failure.h"
#include "python/handler.h"

enum { MOUNTS_TEXT_SIZE = 1024 };

static PyObject *asya;   /* the extension: borrowed for ever */
static PyObject *mounts; /* the Python module; NULL: there are none */

void mounts_use(PyObject *extension) { asya = extension; }

static PyObject *mounts_import(void)
{
    PyObject *package = PyObject_CallMethod(asya, "_commands", NULL);
    PyObject *module = package != NULL ? PyObject_CallMethod(package, "load", "s", "mounts") : NULL;
    Py_XDECREF(package);
    return module;
}

static int mounts_fail(void) { return handler_fail(EVENT_START_FAILED, "setting up", "ASYA_STATE_PROXY_MOUNTS"); }

int mounts_prepare(const struct options *options)
{
    if (options->state_mounts[0] == '\0' || mounts != NULL) {
        return EXIT_OK;
    }
    mounts = mounts_import();
    PyObject *said = mounts != NULL
                         ? PyObject_CallMethod(mounts, "prepare", "ss", options->state_mounts, options->state_folder)
                         : NULL;
    if (said == NULL) {
        return mounts_fail();
    }
    char text[MOUNTS_TEXT_SIZE];
    bool is_refused = failure_text_of(said, text, sizeof text) > 0;
    Py_DECREF(said);
    if (is_refused) {
        log_error(EVENT_START_FAILED, "%s", text);
    }
    return is_refused ? EXIT_OPTION : EXIT_OK;
}

int mounts_install(void)
{
    PyObject *done = mounts != NULL ? PyObject_CallMethod(mounts, "install", NULL) : Py_None;
    if (done == NULL) {
        return mounts_fail();
    }
    if (mounts != NULL) {
        Py_DECREF(done);
    }
    return EXIT_OK;
}
