/* outlet: a reply goes out, and whoever looks at the page afterwards knows whether it did. */
#include "descriptors.h"

#include "server/outlet.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct status_page *page;
static int ends[2];

static int setup(void **state)
{
    if (descriptors_note(state) != 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
        return -1;
    }
    page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
    close(ends[0]);
    close(ends[1]);
    (void)munmap(page, sizeof *page);
    return descriptors_check(state);
}

static ssize_t send_text(struct status_page *where, uint32_t slot, char *text)
{
    struct iovec parts[2] = {{text, strlen(text) / 2}, {text + strlen(text) / 2, strlen(text) - strlen(text) / 2}};
    return outlet_send(where, slot, ends[0], parts, 2);
}

static void both_parts_arrive_and_the_slot_says_so(void **state)
{
    (void)state;
    char text[] = "a reply";
    char got[16];
    page->slots[3].state = (5 << SLOT_STATE_BITS) + SLOT_REPLYING;
    assert_int_equal(send_text(page, 3, text), strlen(text));
    assert_int_equal(recv(ends[1], got, sizeof got, 0), strlen(text));
    assert_memory_equal(got, text, strlen(text));
    assert_int_equal(page->slots[3].state, (5 << SLOT_STATE_BITS) + SLOT_SENT);
    assert_false(outlet_has_sent(page, 3)); /* it is between replies again: the state tells */
}

static void without_a_page_or_a_slot_it_sends_all_the_same(void **state)
{
    (void)state;
    char text[] = "a reply";
    assert_int_equal(send_text(NULL, 3, text), strlen(text));
    assert_int_equal(send_text(page, OUTLET_NO_SLOT, text), strlen(text));
    assert_int_equal(page->outlet.slot, 0);
}

static void a_failure_is_told_and_leaves_the_slot_replying(void **state)
{
    (void)state;
    char text[] = "a reply";
    page->slots[3].state = SLOT_REPLYING;
    close(ends[1]);
    assert_int_equal(send_text(page, 3, text), -1);
    assert_int_equal(errno, EPIPE); /* and no SIGPIPE */
    assert_int_equal(page->slots[3].state, SLOT_REPLYING);
    assert_false(outlet_has_sent(page, 3));
    ends[1] = -1;
}

static void what_does_not_fit_is_not_waited_for(void **state)
{
    (void)state;
    static char text[1 << 22];
    memset(text, 'x', sizeof text - 1);
    page->slots[3].state = SLOT_REPLYING;
    ssize_t first = send_text(page, 3, text);
    assert_true(first > 0 && first < (ssize_t)sizeof text);
    assert_int_equal(page->slots[3].state, SLOT_SENT);
    while (send_text(page, 3, text) > 0) {
    }
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(page->slots[3].state, SLOT_SENT);
}

/* Killed at any moment, what the page says agrees with what the other side has. */
static void the_page_of_a_killed_process_is_right(void **state)
{
    (void)state;
    uint32_t rounds[2] = {0, 0};
    for (int round = 0; round < 400; round++) {
        int pair[2];
        char got[16];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
        memset(page, 0, sizeof *page);
        page->outlet.slot = OUTLET_NO_SLOT;
        page->slots[0].state = SLOT_REPLYING;
        pid_t child = fork();
        if (child == 0) {
            char text[] = "a reply";
            struct iovec part = {text, sizeof text - 1};
            page->requests = 1;
            (void)outlet_send(page, 0, pair[0], &part, 1);
            page->requests = 2;
            _exit(0);
        }
        while (page->requests == 0) {
        }
        for (volatile int i = 0; i < round * 4; i++) {
        }
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        bool arrived = recv(pair[1], got, sizeof got, 0) > 0;
        bool told = slot_state(&page->slots[0]) == SLOT_SENT || outlet_has_sent(page, 0);
        assert_int_equal(arrived, told);
        rounds[arrived]++;
        close(pair[0]);
        close(pair[1]);
    }
    print_message("killed before the reply was out: %u, after: %u\n", rounds[0], rounds[1]);
}

#define OUTLET_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OUTLET_TEST(both_parts_arrive_and_the_slot_says_so),
        OUTLET_TEST(without_a_page_or_a_slot_it_sends_all_the_same),
        OUTLET_TEST(a_failure_is_told_and_leaves_the_slot_replying),
        OUTLET_TEST(what_does_not_fit_is_not_waited_for),
        OUTLET_TEST(the_page_of_a_killed_process_is_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
