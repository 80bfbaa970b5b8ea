#!/usr/bin/env python3
"""HTTP requests that are refused: (name, status of the reply, bytes), each a whole request unless the name says otherwise.

The socket tests import ROWS; for the C tests the build runs this file, which writes the same rows as a C table.
The limit on a body is LIMIT bytes. Not one of these may reach the function, and each connection is closed behind the
reply.
"""
import sys

LIMIT = 1000  # ASYA_MAX_MESSAGE_SIZE these rows are written for
HEAD_MAX = 16384
BODY = b'{"payload":1,"route":{"prev":[],"curr":"a","next":[]}}'


def line(text):
    """A request with this request line and nothing else wrong."""
    return text + b"\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


def fields(*texts):
    """A POST with these header lines after a Host."""
    return b"POST /invoke HTTP/1.1\r\nHost: a\r\n" + b"".join(text + b"\r\n" for text in texts) + b"\r\n"


def with_body(*texts):
    return fields(*texts) + BODY


def chunks(body):
    """A POST whose chunked body is these bytes."""
    return fields(b"Transfer-Encoding: chunked") + body


LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked"

ROWS = [
    # the request line
    ("a request line without a version", 400, line(b"POST /invoke")),
    ("a request line without a target", 400, line(b"POST HTTP/1.1")),
    ("a method alone", 400, line(b"POST")),
    ("a request line of one space", 400, line(b" ")),
    ("a space before the method", 400, line(b" POST /invoke HTTP/1.1")),
    ("no method", 400, line(b" /invoke HTTP/1.1")),
    ("two spaces behind the method", 400, line(b"POST  /invoke HTTP/1.1")),
    ("two spaces before the version", 400, line(b"POST /invoke  HTTP/1.1")),
    ("a space behind the version", 400, line(b"POST /invoke HTTP/1.1 ")),
    ("a tab between method and target", 400, line(b"POST\t/invoke HTTP/1.1")),
    ("a tab between target and version", 400, line(b"POST /invoke\tHTTP/1.1")),
    ("a space in the target", 400, line(b"POST /in voke HTTP/1.1")),
    ("a method with a colon", 400, line(b"PO:ST /invoke HTTP/1.1")),
    ("a method with a byte above 0x7F", 400, line(b"P\xd6ST /invoke HTTP/1.1")),
    ("a target that begins with an asterisk", 400, line(b"POST *a HTTP/1.1")),
    ("a target that is no path", 400, line(b"POST invoke HTTP/1.1")),
    ("a target with a byte above 0x7F", 400, line(b"POST /inv\xf6ke HTTP/1.1")),
    ("a target with a fragment", 400, line(b"POST /invoke#a HTTP/1.1")),
    ("a target with a backslash", 400, line(b"POST /invoke\\a HTTP/1.1")),
    ("a target with a quote", 400, line(b'POST /invoke"a HTTP/1.1')),
    ("a URL without a host", 400, line(b"POST http:///invoke HTTP/1.1")),
    ("a URL of another scheme", 400, line(b"POST ftp://a/invoke HTTP/1.1")),
    ("a CONNECT to a host and port", 400, line(b"CONNECT a:80 HTTP/1.1")),
    ("a version in small letters", 400, line(b"POST /invoke http/1.1")),
    ("a version without a minor number", 400, line(b"POST /invoke HTTP/1")),
    ("a version with two minor digits", 400, line(b"POST /invoke HTTP/1.10")),
    ("a version with a comma", 400, line(b"POST /invoke HTTP/1,1")),
    ("another protocol's version", 400, line(b"POST /invoke ICAP/1.1")),
    ("a version with a letter", 400, line(b"POST /invoke HTTP/a.1")),
    ("a version with a minor letter", 400, line(b"POST /invoke HTTP/1.a")),
    ("a version with a slash for a digit", 400, line(b"POST /invoke HTTP//.1")),
    ("a version with a minor slash", 400, line(b"POST /invoke HTTP/1./")),
    ("a version with a colon for a digit", 400, line(b"POST /invoke HTTP/:.1")),
    ("a version with a minor colon", 400, line(b"POST /invoke HTTP/1.:")),
    ("version 0.9", 505, line(b"POST /invoke HTTP/0.9")),
    ("version 9.9", 505, line(b"POST /invoke HTTP/9.9")),
    ("version 2.0", 505, line(b"POST /invoke HTTP/2.0")),
    ("the preface of HTTP/2", 505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("a NUL in the request line", 400, line(b"POST /invoke\x00 HTTP/1.1")),
    ("an escape character in the request line", 400, line(b"POST /\x1b[0m HTTP/1.1")),
    ("a second request line", 400, b"POST /invoke HTTP/1.1\r\nPOST /invoke HTTP/1.1\r\nHost: a\r\n\r\n"),
    # line ends
    ("a request line that ends with LF alone", 400, b"POST /invoke HTTP/1.1\nHost: a\r\n" + LENGTH + b"\r\n\r\n" + BODY),
    ("a header line that ends with LF alone", 400, b"POST /invoke HTTP/1.1\r\nHost: a\n" + LENGTH + b"\r\n\r\n" + BODY),
    ("a head that ends with LF alone", 400, b"POST /invoke HTTP/1.1\r\nHost: a\r\n" + LENGTH + b"\r\n\n" + BODY),
    ("a head of LF alone", 400, b"POST /invoke HTTP/1.1\nHost: a\n" + LENGTH + b"\n\n" + BODY),
    ("a header line that ends with LF and LF", 400, b"POST /invoke HTTP/1.1\r\nHost: a\n\n" + LENGTH + b"\r\n\r\n" + BODY),
    ("a header line that ends with NUL and LF", 400, b"POST /invoke HTTP/1.1\r\nHost: a\0\n" + LENGTH + b"\r\n\r\n" + BODY),
    ("a CR in the request line", 400, line(b"POST /invoke\rHTTP/1.1")),
    ("a CR in the value of a header field", 400, with_body(b"X-A: b\rc", LENGTH)),
    ("a CR that hides a header field", 400, with_body(b"X-A: b\rContent-Length: 3", LENGTH)),
    ("two CR before LF", 400, with_body(b"X-A: b\r", LENGTH)),
    ("a CR before the empty line", 400, b"POST /invoke HTTP/1.1\r\nHost: a\r\n" + LENGTH + b"\r\n\r\r\n" + BODY),
    # header lines
    ("a folded header line", 400, with_body(b"X-A: b\r\n c", LENGTH)),
    ("a header line folded with a tab", 400, with_body(b"X-A: b\r\n\tc", LENGTH)),
    ("a folded content length", 400, with_body(b"Content-Length:\r\n 54")),
    ("white space before the first header field", 400, b"POST /invoke HTTP/1.1\r\n Host: a\r\n" + LENGTH + b"\r\n\r\n" + BODY),
    ("a space before the colon", 400, with_body(b"Content-Length : 54")),
    ("a tab before the colon", 400, with_body(b"Content-Length\t: 54")),
    ("a space in the name of a header field", 400, with_body(b"X A: b", LENGTH)),
    ("a header field without a name", 400, with_body(b": b", LENGTH)),
    ("a header line without a colon", 400, with_body(b"X-A", LENGTH)),
    ("a quote in the name of a header field", 400, with_body(b'X"A: b', LENGTH)),
    ("a bracket in the name of a header field", 400, with_body(b"X[A]: b", LENGTH)),
    ("a byte above 0x7F in the name of a header field", 400, with_body(b"X-\xc4: b", LENGTH)),
    ("a NUL in the name of a header field", 400, with_body(b"X\x00A: b", LENGTH)),
    ("a NUL in the value of a header field", 400, with_body(b"X-A: b\x00c", LENGTH)),
    ("a control character in the value of a header field", 400, with_body(b"X-A: b\x01c", LENGTH)),
    ("a vertical tab before a value", 400, with_body(b"Transfer-Encoding: \x0bchunked")),
    ("a form feed behind a content length", 400, with_body(LENGTH + b"\x0c")),
    ("a DEL in the value of a header field", 400, with_body(b"X-A: b\x7fc", LENGTH)),
    ("more header fields than allowed", 400, with_body(*([b"X-A: b"] * 100), LENGTH)),
    ("a head that is too large by one header field", 400, with_body(b"X-A: " + b"b" * HEAD_MAX, LENGTH)),
    ("a head that never ends", 400, b"POST /invoke HTTP/1.1\r\nX-A: " + b"b" * HEAD_MAX),
    ("a target that never ends", 400, b"POST /" + b"a" * HEAD_MAX),
    # Host
    ("no Host in HTTP/1.1", 400, b"POST /invoke HTTP/1.1\r\n" + LENGTH + b"\r\n\r\n" + BODY),
    ("two Hosts", 400, with_body(b"Host: b", LENGTH)),
    ("the same Host twice", 400, with_body(b"host: a", LENGTH)),
    ("a Host with a space", 400, b"POST /invoke HTTP/1.1\r\nHost: a b\r\n" + LENGTH + b"\r\n\r\n" + BODY),
    ("a Host with a path", 400, b"POST /invoke HTTP/1.1\r\nHost: a/b\r\n" + LENGTH + b"\r\n\r\n" + BODY),
    ("a Host with a user", 400, b"POST /invoke HTTP/1.1\r\nHost: u@a\r\n" + LENGTH + b"\r\n\r\n" + BODY),
    # the length of the body
    ("an empty content length", 400, with_body(b"Content-Length:")),
    ("a content length with a plus sign", 400, with_body(b"Content-Length: +54")),
    ("a content length with a minus sign", 400, with_body(b"Content-Length: -54")),
    ("a hexadecimal content length", 400, with_body(b"Content-Length: 0x36")),
    ("a content length with a fraction", 400, with_body(b"Content-Length: 54.0")),
    ("a content length with an exponent", 400, with_body(b"Content-Length: 5e1")),
    ("a content length with an underscore", 400, with_body(b"Content-Length: 5_4")),
    ("a content length with a space inside", 400, with_body(b"Content-Length: 5 4")),
    ("a content length with a unit", 400, with_body(b"Content-Length: 54B")),
    ("a content length of letters", 400, with_body(b"Content-Length: many")),
    ("a content length in quotes", 400, with_body(b'Content-Length: "54"')),
    ("a content length of superscript digits", 400, with_body("Content-Length: ⁵⁴".encode())),
    ("a list of content lengths", 400, with_body(b"Content-Length: 54, 54")),
    ("a list of content lengths that ends with a comma", 400, with_body(b"Content-Length: 54,")),
    ("two content lengths", 400, with_body(LENGTH, b"Content-Length: 3")),
    ("the same content length twice", 400, with_body(LENGTH, LENGTH)),
    ("a content length twice in other letters", 400, with_body(LENGTH, LENGTH.upper())),
    ("a content length one above the limit", 413, fields(b"Content-Length: 1001")),
    ("a content length of 2^32", 413, fields(b"Content-Length: 4294967296")),
    ("a content length of 2^63", 413, fields(b"Content-Length: 9223372036854775808")),
    ("a content length of 2^64 + 54", 413, fields(b"Content-Length: 18446744073709551670")),
    ("a content length of a thousand digits", 413, fields(b"Content-Length: " + b"9" * 1000)),
    ("a content length above the limit that waits to be told to go on", 413,
     fields(b"Content-Length: 1001", b"Expect: 100-continue")),
    # length with chunks, and other transfer codings
    ("a content length before chunks", 400, with_body(LENGTH, CHUNKED)),
    ("a content length behind chunks", 400, with_body(CHUNKED, LENGTH)),
    ("a content length of 0 with chunks", 400, fields(b"Content-Length: 0", CHUNKED) + b"0\r\n\r\n"),
    ("a content length above the limit with chunks", 400, fields(b"Content-Length: 99999", CHUNKED) + b"0\r\n\r\n"),
    ("two transfer encodings", 400, fields(CHUNKED, b"Transfer-Encoding: identity") + b"0\r\n\r\n"),
    ("chunked twice", 400, fields(CHUNKED, CHUNKED) + b"0\r\n\r\n"),
    ("chunked twice in one field", 400, fields(b"Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n"),
    ("chunked before another coding", 400, fields(b"Transfer-Encoding: chunked, identity") + b"0\r\n\r\n"),
    ("another coding before chunked", 400, fields(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n"),
    ("a transfer encoding that is not chunked", 400, with_body(b"Transfer-Encoding: gzip", LENGTH)),
    ("the transfer encoding identity", 400, with_body(b"Transfer-Encoding: identity", LENGTH)),
    ("an empty transfer encoding", 400, with_body(b"Transfer-Encoding:", LENGTH)),
    ("chunked with a letter before it", 400, fields(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n"),
    ("chunked with a letter behind it", 400, fields(b"Transfer-Encoding: chunkedx") + b"0\r\n\r\n"),
    ("chunked in quotes", 400, fields(b'Transfer-Encoding: "chunked"') + b"0\r\n\r\n"),
    ("chunked with a parameter", 400, fields(b"Transfer-Encoding: chunked;q=1") + b"0\r\n\r\n"),
    ("a comma before chunked", 400, fields(b"Transfer-Encoding: ,chunked") + b"0\r\n\r\n"),
    ("chunks in HTTP/1.0", 400, b"POST /invoke HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    # expectations
    ("an expectation nobody can meet", 417, with_body(b"Expect: 200-ok", LENGTH)),
    ("an expectation among others", 417, with_body(b"Expect: 100-continue, 200-ok", LENGTH)),
    # chunks
    ("a chunk without a size", 400, chunks(b"\r\nabc\r\n0\r\n\r\n")),
    ("an empty line in place of the last chunk", 400, chunks(b"3\r\nabc\r\n\r\n\r\n")),
    ("an extension without a size", 400, chunks(b"3\r\nabc\r\n;a\r\n\r\n")),
    ("a chunk's size that is no number", 400, chunks(b"x\r\nabc\r\n0\r\n\r\n")),
    ("a chunk's size with a plus sign", 400, chunks(b"+3\r\nabc\r\n0\r\n\r\n")),
    ("a chunk's size with a minus sign", 400, chunks(b"-3\r\nabc\r\n0\r\n\r\n")),
    ("a chunk's size that says it is hexadecimal", 400, chunks(b"0x3\r\nabc\r\n0\r\n\r\n")),
    ("a chunk's size with an underscore", 400, chunks(b"0_3\r\nabc\r\n0\r\n\r\n")),
    ("a space before a chunk's size", 400, chunks(b" 3\r\nabc\r\n0\r\n\r\n")),
    ("a space behind a chunk's size", 400, chunks(b"3 \r\nabc\r\n0\r\n\r\n")),
    ("a tab behind a chunk's size", 400, chunks(b"3\t\r\nabc\r\n0\r\n\r\n")),
    ("a chunk's size that ends with LF alone", 400, chunks(b"3\nabc\r\n0\r\n\r\n")),
    ("a chunk's size that ends with a letter and LF", 400, chunks(b"3x\nabc\r\n0\r\n\r\n")),
    ("a chunk's size that ends with CR and a letter", 400, chunks(b"3\rxabc\r\n0\r\n\r\n")),
    ("a chunk's size that ends with CR alone", 400, chunks(b"3\rabc\r\n0\r\n\r\n")),
    ("a chunk that ends with LF alone", 400, chunks(b"3\r\nabc\n0\r\n\r\n")),
    ("a chunk that ends with CR alone", 400, chunks(b"3\r\nabc\r0\r\n\r\n")),
    ("a chunk longer than its size", 400, chunks(b"3\r\nabcd\r\n0\r\n\r\n")),
    ("a chunk shorter than its size", 400, chunks(b"5\r\nabc\r\n0\r\n\r\n")),
    ("a chunk's size with 17 digits", 400, chunks(b"00000000000000003\r\nabc\r\n0\r\n\r\n")),
    ("a chunk of 2^64 - 1 bytes", 413, chunks(b"ffffffffffffffff\r\nabc")),
    ("a chunk one above the limit", 413, chunks(b"3e9\r\n")),
    ("chunks that are above the limit together", 413, chunks(b"3e8\r\n" + b"a" * 1000 + b"\r\n1\r\na\r\n0\r\n\r\n")),
    ("an extension that ends with LF alone", 400, chunks(b"3;a=b\nabc\r\n0\r\n\r\n")),
    ("an extension with a NUL", 400, chunks(b"3;a=\x00\r\nabc\r\n0\r\n\r\n")),
    ("an extension with a CR", 400, chunks(b"3;a=\rb\r\nabc\r\n0\r\n\r\n")),
    ("an extension that never ends", 400, chunks(b"3;" + b"a" * 5000)),
    ("extensions that are too large together", 400, chunks((b"1;" + b"a" * 500 + b"\r\na\r\n") * 10)),
    ("a body that ends with LF alone", 400, chunks(b"3\r\nabc\r\n0\r\n\n")),
    ("a body that ends with CR and no LF", 400, chunks(b"3\r\nabc\r\n0\r\n\rX")),
    ("a trailer field without a name", 400, chunks(b"0\r\n: b\r\n\r\n")),
    ("a trailer line without a colon", 400, chunks(b"0\r\nabc\r\n\r\n")),
    ("a space before the colon of a trailer field", 400, chunks(b"0\r\nX-A : b\r\n\r\n")),
    ("a folded trailer line", 400, chunks(b"0\r\nX-A: b\r\n c\r\n\r\n")),
    ("a trailer line that ends with LF alone", 400, chunks(b"0\r\nX-A: b\n\r\n")),
    ("a NUL in a trailer field", 400, chunks(b"0\r\nX-A: \x00\r\n\r\n")),
    ("trailer fields that never end", 400, chunks(b"0\r\n" + b"X-A: b\r\n" * 1000)),
]


def c_string(data):
    """As C string literals of a row each; octal escapes of three digits end where they should."""
    pieces = [data[i : i + 60] for i in range(0, len(data), 60)]
    return "\n".join(
        '     "%s"' % "".join(chr(b) if chr(b).isalnum() and b < 128 else "\\%03o" % b for b in piece) for piece in pieces
    )


def main():
    with open(sys.argv[1], "w", encoding="ascii") as out:
        out.write('#include "malformed.h"\n\nconst struct malformed malformed_rows[] = {\n')
        for name, status, data in ROWS:
            out.write('    {"%s", %d, %d, (const unsigned char *)\n%s},\n' % (name, status, len(data), c_string(data)))
        out.write("};\n\nconst size_t malformed_count = sizeof malformed_rows / sizeof malformed_rows[0];\n")
        out.write("const size_t malformed_limit = %d;\n" % LIMIT)


if __name__ == "__main__":
    main()
