/* signals: those that have come are delivered, however many events there are. */
#include "base/clock.h"
#include "base/fd.h"
#include "supervisor/state.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

static struct supervisor supervisor;

static void a_signal_is_delivered_beside_events_that_never_end(void **state)
{
    (void)state;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &supervisor};
    int ready = eventfd(1, EFD_CLOEXEC);
    assert_true(signals_watch(&supervisor));
    assert_int_equal(epoll_ctl(supervisor.epoll, EPOLL_CTL_ADD, ready, &event), 0);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    assert_false((signals_take(&supervisor, clock_now()) & UINT32_C(1) << SIGTERM) != 0);
    assert_int_equal(signals_wait(&supervisor, &event, 1, CLOCK_NEVER), 1);
    assert_true((signals_take(&supervisor, clock_now()) & UINT32_C(1) << SIGTERM) != 0);
    signals_close(&supervisor);
    signals_restore(&supervisor);
    fd_close(&ready);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_signal_is_delivered_beside_events_that_never_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
