#include "python/news.h"

#include "python/active.h"
#include "python/log.h"
#include "python/object.h"
#include "python/stacks.h"
#include "server/cancel.h"

#include <signal.h>

static struct scoreboard *news_board;

static void news_take_level(void)
{
    uint32_t level = atomic_load_explicit(&news_board->level, memory_order_relaxed);
    if (level > 0 && level <= LOG_LEVEL_ERROR + 1 && level - 1 != (uint32_t)log_level()) {
        log_set_level((enum log_level)(level - 1));
        function_log_set_level((enum log_level)(level - 1));
    }
}

/* Python-level handler of NEWS_SIGNAL. */
static PyObject *news_on_signal(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    news_take_level();
    uint32_t wanted = atomic_load_explicit(&news_board->stacks_wanted, memory_order_acquire);
    if (wanted != atomic_load_explicit(&news_board->stacks_written, memory_order_relaxed)) {
        stacks_write_tasks();
        atomic_store_explicit(&news_board->stacks_written, wanted, memory_order_release);
    }
    return object_none();
}

static PyMethodDef news_method = {"on_news", news_on_signal, METH_VARARGS, NULL};

void news_install(struct scoreboard *board)
{
    if (board == NULL) {
        return;
    }
    news_board = board;
    if (!active_install_handler(NEWS_SIGNAL, &news_method, SA_RESTART)) {
        PyErr_Clear();
        log_debug(EVENT_RUNTIME_DEGRADED, "the worker cannot be told of a new log level");
    }
    news_take_level(); /* it may have changed since the fork, when a signal told nobody */
}

void news_end(void)
{
    PyObject *module = news_board != NULL ? PyImport_ImportModule("_signal") : NULL;
    PyObject *ignore = module != NULL ? PyObject_GetAttrString(module, "SIG_IGN") : NULL;
    PyObject *done = ignore != NULL ? PyObject_CallMethod(module, "signal", "iO", NEWS_SIGNAL, ignore) : NULL;
    PyErr_Clear();
    Py_XDECREF(done);
    Py_XDECREF(ignore);
    Py_XDECREF(module);
}
