/* control: whole messages with their descriptors, and nothing else, between a supervisor and a worker. */
#include "descriptors.h"

#include "base/fd.h"
#include "server/control.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct channel {
    int supervisor;
    int worker;
};

static struct channel channel_make(void)
{
    struct channel channel;
    assert_int_equal(control_pair(&channel.supervisor, &channel.worker), 0);
    return channel;
}

static void channel_close(const struct channel *channel)
{
    close(channel->supervisor);
    close(channel->worker);
}

static void both_ends_are_nonblocking_and_closed_on_exec(void **state)
{
    (void)state;
    struct channel channel = channel_make();
    const int ends[] = {channel.supervisor, channel.worker};
    for (int i = 0; i < 2; i++) {
        assert_true(fcntl(ends[i], F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(ends[i], F_GETFD) & FD_CLOEXEC);
    }
    channel_close(&channel);
}

static void messages_arrive_whole_in_order_and_in_both_directions(void **state)
{
    (void)state;
    struct channel channel = channel_make();
    struct control_message message;
    int fds[CONTROL_FDS_MAX];
    assert_int_equal(control_send(channel.supervisor, CONTROL_DRAIN, NULL, 0), 0);
    assert_int_equal(control_send(channel.supervisor, CONTROL_RETIRE, NULL, 0), 0);
    assert_int_equal(control_send(channel.worker, CONTROL_READY, NULL, 0), 0);
    assert_int_equal(control_receive(channel.worker, &message, fds), 1);
    assert_int_equal(message.type, CONTROL_DRAIN);
    assert_int_equal(message.count, 0);
    assert_int_equal(control_receive(channel.worker, &message, fds), 1);
    assert_int_equal(message.type, CONTROL_RETIRE);
    assert_int_equal(control_receive(channel.supervisor, &message, fds), 1);
    assert_int_equal(message.type, CONTROL_READY);
    assert_int_equal(control_receive(channel.worker, &message, fds), -EAGAIN);
    assert_int_equal(control_receive(channel.supervisor, &message, fds), -EAGAIN);
    channel_close(&channel);
}

/* Whether what is written to `to` comes out of `from`. */
static bool is_connected(int to, int from)
{
    char byte = 0;
    return write(to, "x", 1) == 1 && read(from, &byte, 1) == 1 && byte == 'x';
}

static void descriptors_travel_in_any_allowed_number(void **state)
{
    (void)state;
    struct channel channel = channel_make();
    static const uint32_t counts[] = {1, 2, 31, CONTROL_FDS_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        int pipes[CONTROL_FDS_MAX][2];
        int sent[CONTROL_FDS_MAX];
        int received[CONTROL_FDS_MAX];
        for (uint32_t k = 0; k < counts[i]; k++) {
            assert_int_equal(pipe2(pipes[k], O_CLOEXEC), 0);
            sent[k] = pipes[k][1];
        }
        assert_int_equal(control_send(channel.worker, CONTROL_SLOTS, sent, counts[i]), 0);
        struct control_message message;
        assert_int_equal(control_receive(channel.supervisor, &message, received), 1);
        assert_int_equal(message.type, CONTROL_SLOTS);
        assert_int_equal(message.count, counts[i]);
        for (uint32_t k = 0; k < counts[i]; k++) {
            assert_true(fcntl(received[k], F_GETFD) & FD_CLOEXEC);
            assert_true(is_connected(received[k], pipes[k][0]));
            assert_true(is_connected(pipes[k][1], pipes[k][0])); /* the sender's stays open */
            close(received[k]);
            close(pipes[k][0]);
            close(pipes[k][1]);
        }
    }
    channel_close(&channel);
}

static void more_descriptors_than_allowed_are_not_sent(void **state)
{
    (void)state;
    struct channel channel = channel_make();
    int fds[CONTROL_FDS_MAX + 1];
    for (int i = 0; i <= CONTROL_FDS_MAX; i++) {
        fds[i] = STDERR_FILENO;
    }
    struct control_message message;
    assert_int_equal(control_send(channel.worker, CONTROL_SLOTS, fds, CONTROL_FDS_MAX + 1), -EINVAL);
    assert_int_equal(control_send(channel.worker, CONTROL_SLOTS, fds, UINT32_MAX), -EINVAL);
    assert_int_equal(control_receive(channel.supervisor, &message, fds), -EAGAIN);
    channel_close(&channel);
}

static void a_descriptor_that_is_not_open_cannot_be_sent(void **state)
{
    (void)state;
    struct channel channel = channel_make();
    const int bad = 1 << 20;
    assert_int_equal(control_send(channel.worker, CONTROL_SLOTS, &bad, 1), -EBADF);
    channel_close(&channel);
}

/* A packet as a function that writes to every descriptor it finds might make it. */
static void send_raw(int fd, const void *bytes, size_t size, uint32_t fd_count)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * 253)];
        struct cmsghdr align;
    } ancillary = {0};
    struct iovec part = {.iov_len = size};
    memcpy(&part.iov_base, &bytes, sizeof bytes); /* sendmsg only reads it */
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd_count > 0) {
        header.msg_control = ancillary.bytes;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        for (uint32_t i = 0; i < fd_count; i++) {
            const int sent = STDERR_FILENO;
            memcpy(CMSG_DATA(rights) + i * sizeof sent, &sent, sizeof sent);
        }
    }
    assert_int_equal(sendmsg(fd, &header, 0), (ssize_t)size);
}

struct bad_row {
    const char *name;
    size_t size;
    struct control_message message;
    uint32_t fds;
};

enum { SIZE = sizeof(struct control_message) };

static const struct bad_row bad_rows[] = {
    {"a single byte", 1, {.type = CONTROL_READY, .count = 0}, 0},
    {"half a message", SIZE / 2, {.type = CONTROL_READY, .count = 0}, 0},
    {"a message and a byte", SIZE + 1, {.type = CONTROL_READY, .count = 0}, 0},
    {"a whole page", 4096, {.type = CONTROL_READY, .count = 0}, 0},
    {"a short message with a descriptor", SIZE - 1, {.type = CONTROL_SLOTS, .count = 1}, 1},
    {"a descriptor without a message", 1, {.type = 0, .count = 0}, 1},
    {"a promise of a descriptor that is not there", SIZE, {.type = CONTROL_LISTENER, .count = 1}, 0},
    {"a promise of very many that are not there", SIZE, {.type = CONTROL_SLOTS, .count = UINT32_MAX}, 0},
    {"descriptors nobody spoke of", SIZE, {.type = CONTROL_READY, .count = 0}, 3},
    {"more descriptors than promised", SIZE, {.type = CONTROL_SLOTS, .count = 1}, 2},
    {"fewer descriptors than promised", SIZE, {.type = CONTROL_SLOTS, .count = 3}, 2},
    {"one descriptor too many for any message",
     SIZE,
     {.type = CONTROL_SLOTS, .count = CONTROL_FDS_MAX + 1},
     CONTROL_FDS_MAX + 1},
    {"as many as the kernel passes", SIZE, {.type = CONTROL_SLOTS, .count = 253}, 253},
    {"as many as the kernel passes, told as if they were allowed",
     SIZE,
     {.type = CONTROL_SLOTS, .count = CONTROL_FDS_MAX},
     253},
};

/* The teardown finds a descriptor that was taken and not closed. */
static void a_malformed_message_is_refused_and_its_descriptors_closed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_rows / sizeof bad_rows[0]; i++) {
        const struct bad_row *row = &bad_rows[i];
        struct channel channel = channel_make();
        unsigned char bytes[4096] = {0};
        memcpy(bytes, &row->message, sizeof row->message);
        send_raw(channel.worker, bytes, row->size, row->fds);
        assert_int_equal(control_send(channel.worker, CONTROL_READY, NULL, 0), 0);
        size_t before = descriptors_count();
        struct control_message message = {.type = 77, .count = 77};
        int fds[CONTROL_FDS_MAX];
        int status = control_receive(channel.supervisor, &message, fds);
        if (status != -EPROTO || message.type != 77 || message.count != 77 || descriptors_count() != before) {
            fail_msg("%s: %d, %zu descriptors more", row->name, status, descriptors_count() - before);
        }
        assert_int_equal(control_receive(channel.supervisor, &message, fds), 1); /* the next one is whole */
        assert_int_equal(message.type, CONTROL_READY);
        channel_close(&channel);
    }
}

static void descriptors_the_table_has_no_room_for_are_missing(void **state)
{
    (void)state;
    enum { SENT = 3 };
    for (unsigned room = 0; room <= SENT; room++) {
        struct channel channel = channel_make();
        const int sent[SENT] = {STDERR_FILENO, STDERR_FILENO, STDERR_FILENO};
        struct control_message message;
        int fds[CONTROL_FDS_MAX];
        assert_int_equal(control_send(channel.worker, CONTROL_SLOTS, sent, SENT), 0);
        descriptors_limit(room);
        int status = control_receive(channel.supervisor, &message, fds);
        descriptors_allow();
        assert_int_equal(status, 1);
        assert_int_equal(message.type, CONTROL_SLOTS);
        assert_int_equal(message.count, SENT);
        for (unsigned i = 0; i < SENT; i++) {
            assert_int_equal(fds[i] >= 0, i < room);
            assert_true(i < room || fds[i] == -1);
            fd_close(&fds[i]);
        }
        channel_close(&channel);
    }
}

static void the_end_of_the_channel_is_told_from_silence(void **state)
{
    (void)state;
    struct channel channel = channel_make();
    struct control_message message;
    int fds[CONTROL_FDS_MAX];
    assert_int_equal(control_send(channel.worker, CONTROL_READY, NULL, 0), 0);
    close(channel.worker);
    assert_int_equal(control_receive(channel.supervisor, &message, fds), 1); /* what was said before is heard */
    assert_int_equal(control_receive(channel.supervisor, &message, fds), 0);
    assert_int_equal(control_receive(channel.supervisor, &message, fds), 0);
    assert_int_equal(control_send(channel.supervisor, CONTROL_DRAIN, NULL, 0), -EPIPE); /* and no SIGPIPE */
    close(channel.supervisor);
}

static void a_full_queue_is_said_and_not_waited_for(void **state)
{
    (void)state;
    struct channel channel = channel_make();
    int status = 0;
    uint32_t sent = 0;
    while (sent < 100000 && (status = control_send(channel.supervisor, CONTROL_DRAIN, NULL, 0)) == 0) {
        sent++;
    }
    assert_int_equal(status, -EAGAIN);
    assert_true(sent >= 4);
    struct control_message message;
    int fds[CONTROL_FDS_MAX];
    for (uint32_t i = 0; i < sent; i++) {
        assert_int_equal(control_receive(channel.worker, &message, fds), 1);
    }
    assert_int_equal(control_receive(channel.worker, &message, fds), -EAGAIN);
    channel_close(&channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESCRIPTOR_TEST(both_ends_are_nonblocking_and_closed_on_exec),
        DESCRIPTOR_TEST(messages_arrive_whole_in_order_and_in_both_directions),
        DESCRIPTOR_TEST(descriptors_travel_in_any_allowed_number),
        DESCRIPTOR_TEST(more_descriptors_than_allowed_are_not_sent),
        DESCRIPTOR_TEST(a_descriptor_that_is_not_open_cannot_be_sent),
        DESCRIPTOR_TEST(a_malformed_message_is_refused_and_its_descriptors_closed),
        DESCRIPTOR_TEST(descriptors_the_table_has_no_room_for_are_missing),
        DESCRIPTOR_TEST(the_end_of_the_channel_is_told_from_silence),
        DESCRIPTOR_TEST(a_full_queue_is_said_and_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
