/* An HTTP client for the tests, which shares no code with the product: responses one by one, chunks one by one. */
#ifndef ASYA_TESTS_HTTP_CLIENT_H
#define ASYA_TESTS_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

enum { HTTP_CLIENT_SIZE = 1 << 21, HTTP_BODY_SIZE = 1 << 21 };

struct http_client {
    int fd;
    bool ended;  /* the server has closed */
    bool reset;  /* it has closed with bytes of ours unread */
    size_t size; /* bytes of `data` that have arrived and belong to the next response */
    char data[HTTP_CLIENT_SIZE];
};

struct http_response {
    unsigned status;
    bool close;                /* Connection: close */
    bool keep_alive;           /* Connection: keep-alive */
    bool chunked;              /* the body follows in chunks */
    bool has_length;           /* Content-Length */
    size_t announced;          /* what it says */
    char type[64];             /* Content-Type */
    char allow[64];            /* Allow */
    size_t body_size;          /* for a body of that length */
    char body[HTTP_BODY_SIZE]; /* NUL-terminated */
};

/* Forgets what was there before; borrows `fd`, a blocking socket with a timeout. */
void http_client_begin(struct http_client *client, int fd);

/* Reads the next response, with its body unless it answers a HEAD, has status 1xx or 204, or is chunked. False if there
 * is none: the connection ended or nothing came in time. Fails the test on a malformed one. */
bool http_client_read(struct http_client *client, bool answers_head, struct http_response *ret_response);

/* Reads the next chunk into `text`, NUL-terminated; size 0 is the last one. False if the connection ended before. */
bool http_client_chunk(struct http_client *client, char *text, size_t room, size_t *ret_size);

/* Nothing is left to read, and the server has closed or closes within five seconds. */
bool http_client_ends(struct http_client *client);

#endif
