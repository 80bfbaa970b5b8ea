"""Where a request ends: at the end of the value, at the half-close, at the limit; however it is cut into pieces (C6)."""
import os
import time

import pytest

from harness import client
from harness.conformance import CHUNK_SIZES, json_suite


COMPLETE = {
    "an object": b'{"a":[1,{"b":"}"}]}', "an array": b'[[],"]"]', "a string": b'"a \\" b"', "true": b"true",
    "false": b"false", "null": b"null", "white space first": b" \r\n\t{}", "a number ended by a space": b"12 ",
    "a number ended by a newline": b"-1.5e3\n",
}


@pytest.mark.parametrize("chunk", [None, 1])
@pytest.mark.parametrize("message", COMPLETE.values(), ids=COMPLETE)
def test_a_complete_value_is_answered_without_half_close(described, message, chunk):
    assert described.call(message, half_close=False, chunk=chunk)["status"] == "ok"


@pytest.mark.parametrize("message", [b"12", b"-1.5e3", b"0", b"123456789012345678901234567890"])
def test_a_number_ends_at_the_end_of_input(described, message):
    """Without it more digits may follow: the described must wait."""
    with described.connect() as connection:
        connection.send(message)
        connection.socket.settimeout(0.3)
        with pytest.raises(OSError):
            connection.receive(1)
        connection.socket.settimeout(client.PATIENCE)
        connection.half_close()
        assert connection.reply()["result"][1] == message.decode().replace("-1.5e3", "-1500.0")


def test_a_number_is_not_cut_between_two_writes(described):
    with described.connect() as connection:
        connection.send(b"12")
        time.sleep(0.05)
        connection.send(b"34")
        time.sleep(0.05)
        connection.send(b"\n")
        assert connection.reply()["result"] == ["int", "1234"]


@pytest.mark.parametrize("tail", [b" ", b"\n", b" \r\n\t" * 50])
def test_white_space_after_the_value_is_ignored(described, tail):
    assert described.call(b'{"a":1}' + tail, half_close=False)["result"] == ["dict", "{'a': 1}"]


@pytest.mark.parametrize("tail", [b"x", b"{}", b",", b"]", b" 1", b"\n\n{}", b"\x00"])
def test_bytes_after_the_value_in_the_same_write_are_invalid(described, tail):
    assert described.call(b'{"a":1}' + tail, half_close=False)["error"] == "invalid_json"


def test_a_message_sent_after_the_reply_is_not_answered(described):
    with described.connect() as connection:
        connection.send(b"[]")
        reply = connection.reply()
        assert reply["status"] == "ok"
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(100):
                connection.send(b"[]")
                time.sleep(0.01)


def test_half_close_before_any_byte_is_an_empty_message(described):
    with described.connect() as connection:
        connection.half_close()
        assert connection.reply()["error"] == "empty_message"


def test_a_truncated_value_is_invalid_at_the_half_close(described):
    with described.connect() as connection:
        connection.send(b'{"a": [1, 2')
        time.sleep(0.05)
        connection.half_close()
        assert connection.reply()["error"] == "invalid_json"


def test_a_character_cut_by_two_writes_is_whole(described):
    message = '["\u00e9\u20ac\U0001f600"]'.encode()
    for cut in range(1, len(message)):
        with described.connect() as connection:
            connection.send(message[:cut])
            os.sched_yield()
            connection.send(message[cut:])
            assert connection.reply()["result"] == ["list", "['\u00e9\u20ac\U0001f600']"]


def test_byte_by_byte_with_pauses(described):
    message = b'{"name": "J\xc3\xbcrgen", "n": [1.5, -2, true]} '
    with described.connect() as connection:
        for byte in message.rstrip():
            connection.send(bytes([byte]))
            time.sleep(0.002)
        assert connection.reply()["result"] == ["dict", "{'name': 'J\u00fcrgen', 'n': [1.5, -2, True]}"]


@pytest.mark.parametrize("size", [*CHUNK_SIZES, "a random size"])
def test_conformance_files_get_the_same_answer_in_chunks_of(described, dice, size):
    wrong = []
    for case in json_suite():
        chunk = dice.randrange(1, 3 + len(case.data) // 2) if isinstance(size, str) else size
        reply = described.call(case.data, chunk=chunk)
        answer = reply.get("error", "ok")
        if answer not in case.allowed and not (answer == "ok" and case.complete_before_its_end):
            wrong.append((case.name, answer, case.allowed))
    assert not wrong


def test_large_conformance_files_in_random_chunks(described, dice):
    for case in json_suite():
        if len(case.data) > 10_000:
            with described.connect() as connection:
                position = 0
                try:
                    while position < len(case.data):
                        step = dice.choice((1, 10, 1000, 5000, 70_000))
                        connection.send(case.data[position:position + step])
                        position += step
                    connection.half_close()
                except OSError:
                    pass  # answered before the end
                assert connection.reply().get("error", "ok") in case.allowed
