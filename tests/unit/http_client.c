#include "http_client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include <cmocka.h>

void http_client_begin(struct http_client *client, int fd)
{
    client->fd = fd;
    client->ended = client->reset = false;
    client->size = 0;
}

static bool read_more(struct http_client *client)
{
    assert_true(client->size + 1 < sizeof client->data);
    ssize_t got = recv(client->fd, client->data + client->size, sizeof client->data - 1 - client->size, 0);
    if (got <= 0) {
        client->ended = got == 0;
        client->reset = got < 0 && errno == ECONNRESET;
        return false;
    }
    client->size += (size_t)got;
    return true;
}

static void consume(struct http_client *client, size_t size)
{
    client->size -= size;
    memmove(client->data, client->data + size, client->size);
}

/* Bytes up to and with the next `mark`, or 0 if it never comes. */
static size_t read_to(struct http_client *client, const char *mark)
{
    for (;;) {
        client->data[client->size] = '\0';
        const char *found = strstr(client->data, mark);
        if (found != NULL) {
            return (size_t)(found - client->data) + strlen(mark);
        }
        if (!read_more(client)) {
            return 0;
        }
    }
}

static bool read_bytes(struct http_client *client, size_t size)
{
    while (client->size < size) {
        if (!read_more(client)) {
            return false;
        }
    }
    return true;
}

/* The value of a field in a head that ends with an empty line, or NULL; it ends with CR. */
static const char *find_field(const char *head, size_t size, const char *name)
{
    for (const char *line = strstr(head, "\r\n") + 2; line + 2 < head + size; line = strstr(line, "\r\n") + 2) {
        if (strncasecmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':') {
            line += strlen(name) + 1;
            return line + strspn(line, " ");
        }
    }
    return NULL;
}

static void copy_value(const char *value, char *target, size_t room)
{
    size_t size = value != NULL ? strcspn(value, "\r") : 0;
    assert_true(size < room);
    if (size > 0) {
        memcpy(target, value, size);
    }
    target[size] = '\0';
}

static void parse_head(const char *head, size_t size, struct http_response *response)
{
    char text[64];
    assert_memory_equal(head, "HTTP/1.1 ", 9);
    response->status = (unsigned)strtoul(head + 9, NULL, 10);
    copy_value(find_field(head, size, "Content-Type"), response->type, sizeof response->type);
    copy_value(find_field(head, size, "Allow"), response->allow, sizeof response->allow);
    copy_value(find_field(head, size, "Connection"), text, sizeof text);
    response->close = strcasecmp(text, "close") == 0;
    response->keep_alive = strcasecmp(text, "keep-alive") == 0;
    copy_value(find_field(head, size, "Transfer-Encoding"), text, sizeof text);
    response->chunked = strcasecmp(text, "chunked") == 0;
    copy_value(find_field(head, size, "Content-Length"), text, sizeof text);
    response->has_length = text[0] != '\0';
    response->announced = (size_t)strtoull(text, NULL, 10);
    assert_false(response->chunked && response->has_length);
}

bool http_client_read(struct http_client *client, bool answers_head, struct http_response *ret_response)
{
    size_t head = read_to(client, "\r\n\r\n");
    if (head == 0) {
        return false;
    }
    ret_response->body_size = 0;
    ret_response->body[0] = '\0';
    parse_head(client->data, head, ret_response);
    consume(client, head);
    if (answers_head || ret_response->status < 200 || ret_response->status == 204 || ret_response->chunked) {
        return true;
    }
    size_t size = ret_response->announced;
    if (!ret_response->has_length) {
        return true; /* to the end of the connection: left to the caller */
    }
    assert_true(size < sizeof ret_response->body);
    if (!read_bytes(client, size)) {
        return false;
    }
    memcpy(ret_response->body, client->data, size);
    ret_response->body[size] = '\0';
    ret_response->body_size = size;
    consume(client, size);
    return true;
}

bool http_client_chunk(struct http_client *client, char *text, size_t room, size_t *ret_size)
{
    size_t line = read_to(client, "\r\n");
    if (line == 0) {
        return false;
    }
    char *end;
    size_t size = strtoull(client->data, &end, 16);
    assert_true(end > client->data && end == client->data + line - 2);
    assert_true(size < room);
    consume(client, line);
    if (!read_bytes(client, size + 2)) {
        return false;
    }
    assert_memory_equal(client->data + size, "\r\n", 2);
    memcpy(text, client->data, size);
    text[size] = '\0';
    *ret_size = size;
    consume(client, size + 2);
    return true;
}

bool http_client_ends(struct http_client *client)
{
    while (client->size == 0 && read_more(client)) {
    }
    return client->size == 0 && client->ended;
}
