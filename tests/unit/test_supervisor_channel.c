/* channel: what a worker says without end takes no more than its turn, and leaves nothing open. */
#include "descriptors.h"

#include "base/clock.h"
#include "base/fd.h"
#include "server/control.h"
#include "supervisor/state.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cmocka.h>

static unsigned left;     /* messages that will still come */
static unsigned attached; /* descriptors each of them carries */
static enum control_type type;

int __wrap_control_receive(int fd, struct control_message *ret_message, int ret_fds[CONTROL_FDS_MAX]);

int __wrap_control_receive(int fd, struct control_message *ret_message, int ret_fds[CONTROL_FDS_MAX])
{
    if (left == 0) {
        return -EAGAIN;
    }
    left--;
    *ret_message = (struct control_message){.type = type, .count = attached};
    for (uint32_t i = 0; i < attached; i++) {
        ret_fds[i] = dup(fd);
        ret_message->numbers[i] = fd;
    }
    return 1;
}

static void listen_to(enum control_type what, unsigned messages, unsigned descriptors)
{
    static const struct options options;
    static struct supervisor supervisor = {.options = &options, .numbers_end = 1 << 16};
    static struct worker worker;
    type = what;
    left = messages;
    attached = descriptors;
    assert_int_equal(worker_init(&worker, 0), 0);
    worker.state = WORKER_READY;
    worker.control = dup(STDERR_FILENO);
    supervisor.tick_at = CLOCK_NEVER;
    channel_read(&supervisor, &worker);
    fd_close(&worker.control);
    worker_forget(&worker);
}

static void a_worker_that_never_ends_has_its_turn_and_no_more(void **state)
{
    (void)state;
    listen_to(CONTROL_WATCH, 100000, 0);
    assert_in_range(left, 90000, 99999);
}

static void all_that_a_channel_holds_is_heard_in_one_turn(void **state)
{
    (void)state;
    listen_to(CONTROL_WATCH, 600, 0);
    assert_int_equal(left, 0);
}

static void descriptors_nobody_asked_for_are_closed(void **state)
{
    (void)state;
    static const enum control_type types[] = {CONTROL_READY, CONTROL_WATCH,    CONTROL_RETIRE, CONTROL_TRIM,
                                              CONTROL_DRAIN, CONTROL_LISTENER, CONTROL_HELD,   (enum control_type)99};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        size_t before = descriptors_count();
        listen_to(types[i], 10, 2);
        assert_int_equal(descriptors_count(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(a_worker_that_never_ends_has_its_turn_and_no_more),
        DESCRIPTOR_TEST(all_that_a_channel_holds_is_heard_in_one_turn),
        DESCRIPTOR_TEST(descriptors_nobody_asked_for_are_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
