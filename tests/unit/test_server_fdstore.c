/* store: a duplicate of a connection lies in a slot until it is taken or dropped, and only connections come out. */
#include "descriptors.h"

#include "server/fdstore.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct fdstore slots; /* large */

static void connection_make(int pair[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
}

/* Whether the other end of `client` is closed everywhere. */
static bool is_hung_up(int client)
{
    struct pollfd look = {.fd = client};
    return poll(&look, 1, 0) == 1 && (look.revents & POLLHUP) != 0;
}

static void what_is_put_can_be_taken_once(void **state)
{
    (void)state;
    int pair[2];
    connection_make(pair);
    assert_int_equal(fdstore_grow(&slots, 2), 0);
    assert_int_equal(fdstore_take(slots.receive[0]), -EAGAIN);
    assert_int_equal(fdstore_put(&slots, 0, pair[1]), 0);
    close(pair[1]);
    assert_false(is_hung_up(pair[0])); /* the duplicate keeps it open */
    assert_int_equal(fdstore_take(slots.receive[1]), -EAGAIN);
    int taken = fdstore_take(slots.receive[0]);
    assert_true(taken >= 0);
    assert_true(fcntl(taken, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(taken, "hello", 5), 5);
    char bytes[8];
    assert_int_equal(read(pair[0], bytes, sizeof bytes), 5);
    assert_int_equal(fdstore_take(slots.receive[0]), -EAGAIN);
    close(taken);
    assert_true(is_hung_up(pair[0]));
    close(pair[0]);
    fdstore_done(&slots);
}

static void a_look_leaves_it_parked(void **state)
{
    (void)state;
    int pair[2];
    connection_make(pair);
    assert_int_equal(fdstore_grow(&slots, 1), 0);
    assert_int_equal(fdstore_peek(slots.receive[0]), -EAGAIN);
    assert_int_equal(fdstore_put(&slots, 0, pair[1]), 0);
    close(pair[1]);
    for (int i = 0; i < 3; i++) {
        int seen = fdstore_peek(slots.receive[0]);
        assert_true(seen >= 0);
        assert_true(fcntl(seen, F_GETFD) & FD_CLOEXEC);
        close(seen);
    }
    assert_false(is_hung_up(pair[0]));
    fdstore_drop(&slots, 0);
    assert_true(is_hung_up(pair[0]));
    assert_int_equal(fdstore_peek(slots.receive[0]), -EAGAIN);
    close(pair[0]);
    fdstore_done(&slots);
}

static void a_slot_is_used_again_and_again(void **state)
{
    (void)state;
    assert_int_equal(fdstore_grow(&slots, 3), 0);
    for (uint32_t i = 0; i < 300; i++) {
        int pair[2];
        connection_make(pair);
        assert_int_equal(fdstore_put(&slots, i % 3, pair[1]), 0);
        close(pair[1]);
        if (i % 2 == 0) {
            fdstore_drop(&slots, i % 3);
        } else {
            int taken = fdstore_take(slots.receive[i % 3]);
            assert_true(taken >= 0);
            close(taken);
        }
        assert_true(is_hung_up(pair[0]));
        close(pair[0]);
    }
    fdstore_drop(&slots, 0); /* of an empty slot: nothing happens */
    fdstore_done(&slots);
}

static void what_a_dead_worker_left_is_still_there(void **state)
{
    (void)state;
    int pair[2];
    connection_make(pair);
    assert_int_equal(fdstore_grow(&slots, 1), 0);
    int receive = dup(slots.receive[0]); /* the supervisor's */
    assert_int_equal(fdstore_put(&slots, 0, pair[1]), 0);
    close(pair[1]);
    fdstore_done(&slots);
    int taken = fdstore_take(receive);
    assert_true(taken >= 0);
    assert_int_equal(write(taken, "x", 1), 1);
    close(taken);
    assert_int_equal(fdstore_take(receive), -EAGAIN); /* nobody can put anything there any more */
    assert_int_equal(fdstore_peek(receive), -EAGAIN);
    close(receive);
    close(pair[0]);
}

static void closing_the_slots_closes_what_lies_in_them(void **state)
{
    (void)state;
    int pair[2];
    connection_make(pair);
    assert_int_equal(fdstore_grow(&slots, 1), 0);
    assert_int_equal(fdstore_put(&slots, 0, pair[1]), 0);
    close(pair[1]);
    fdstore_done(&slots);
    assert_int_equal(slots.count, 0);
    assert_true(is_hung_up(pair[0]));
    close(pair[0]);
    fdstore_done(&slots);
}

static int make_pipe(void)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    close(ends[0]);
    return ends[1];
}

static int make_pair(int type)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), 0);
    close(ends[0]);
    return ends[1];
}

static int make_file(void) { return open("/dev/null", O_RDWR | O_CLOEXEC); }
static int make_folder(void) { return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC); }
static int make_memory(void) { return memfd_create("other", MFD_CLOEXEC); }
static int make_epoll(void) { return epoll_create1(EPOLL_CLOEXEC); }
static int make_tcp(void) { return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); }
static int make_packets(void) { return make_pair(SOCK_SEQPACKET); }
static int make_datagrams(void) { return make_pair(SOCK_DGRAM); }

struct kind_row {
    const char *name;
    int (*make)(void);
};

static const struct kind_row kind_rows[] = {
    {"a pipe", make_pipe},
    {"a device", make_file},
    {"a folder", make_folder},
    {"a memory file", make_memory},
    {"an epoll set", make_epoll},
    {"a TCP socket", make_tcp},
    {"a packet socket", make_packets},
    {"a datagram socket", make_datagrams},
};

static void only_unix_stream_sockets_come_out(void **state)
{
    (void)state;
    assert_int_equal(fdstore_grow(&slots, 1), 0);
    for (size_t i = 0; i < sizeof kind_rows / sizeof kind_rows[0]; i++) {
        int other = kind_rows[i].make();
        if (other < 0) {
            print_message("%s cannot be had here\n", kind_rows[i].name);
            continue;
        }
        assert_int_equal(fdstore_put(&slots, 0, other), 0);
        close(other);
        size_t before = descriptors_count();
        int seen = fdstore_peek(slots.receive[0]);
        int taken = fdstore_take(slots.receive[0]);
        int after = fdstore_take(slots.receive[0]);
        if (seen != -EPROTO || taken != -EPROTO || after != -EAGAIN || descriptors_count() != before) {
            fail_msg("%s: %d, %d, %d", kind_rows[i].name, seen, taken, after);
        }
    }
    fdstore_done(&slots);
}

/* `count` descriptors in one message, as a function might send them into the channel it found. */
static void send_many(int fd, uint32_t count)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * 253)];
        struct cmsghdr align;
    } ancillary = {0};
    char byte = 'x';
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = ancillary.bytes,
                            .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * count);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(CMSG_DATA(rights) + i * sizeof fd, &fd, sizeof fd); /* a stream socket like any other */
    }
    assert_int_equal(sendmsg(fd, &header, 0), 1);
}

static void more_than_one_descriptor_never_leaks(void **state)
{
    (void)state;
    static const uint32_t counts[] = {2, 3, 100, 253};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        assert_int_equal(fdstore_grow(&slots, 1), 0);
        send_many(slots.send[0], counts[i]);
        size_t before = descriptors_count();
        int seen = fdstore_peek(slots.receive[0]);
        if (seen >= 0) {
            close(seen);
        }
        int taken = fdstore_take(slots.receive[0]);
        if (taken >= 0) {
            close(taken);
        }
        assert_int_equal(descriptors_count(), before);
        assert_int_equal(fdstore_take(slots.receive[0]), -EAGAIN);
        fdstore_done(&slots);
    }
}

static void bytes_without_a_descriptor_are_no_connection(void **state)
{
    (void)state;
    assert_int_equal(fdstore_grow(&slots, 1), 0);
    assert_int_equal(write(slots.send[0], "\0", 1), 1);
    assert_int_equal(fdstore_peek(slots.receive[0]), -EPROTO);
    assert_int_equal(fdstore_take(slots.receive[0]), -EPROTO);
    assert_int_equal(fdstore_take(slots.receive[0]), -EAGAIN);
    fdstore_done(&slots);
}

static void slots_are_bounded(void **state)
{
    (void)state;
    assert_int_equal(fdstore_grow(&slots, 0), 0);
    assert_int_equal(slots.count, 0);
    slots.count = SLOTS_MAX - 1; /* as if they were made */
    memset(slots.send, 0xFF, sizeof slots.send);
    memset(slots.receive, 0xFF, sizeof slots.receive);
    assert_int_equal(fdstore_grow(&slots, 1000), 0);
    assert_int_equal(slots.count, SLOTS_MAX);
    assert_int_equal(fdstore_grow(&slots, 1), 0);
    assert_int_equal(slots.count, SLOTS_MAX);
    fdstore_done(&slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(what_is_put_can_be_taken_once),
        DESCRIPTOR_TEST(a_look_leaves_it_parked),
        DESCRIPTOR_TEST(a_slot_is_used_again_and_again),
        DESCRIPTOR_TEST(what_a_dead_worker_left_is_still_there),
        DESCRIPTOR_TEST(closing_the_slots_closes_what_lies_in_them),
        DESCRIPTOR_TEST(only_unix_stream_sockets_come_out),
        DESCRIPTOR_TEST(more_than_one_descriptor_never_leaks),
        DESCRIPTOR_TEST(bytes_without_a_descriptor_are_no_connection),
        DESCRIPTOR_TEST(slots_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
