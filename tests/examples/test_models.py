"""The examples with real models and real pictures, through the socket: `make examples` installs what they import.

Runs only with the interpreter that has examples/handlers/requirements.txt (ASYA_TEST_PYTHON)."""
import base64
import json
import math
import struct
import subprocess
import zlib

import pytest

from harness.runtime import PYTHON, REPOSITORY

pytestmark = pytest.mark.examples
FOLDER = REPOSITORY / "examples" / "handlers"


@pytest.fixture
def example(runtime):
    """example("file:function"): a block with that example served."""
    def serve(handler, **options):
        return runtime(handler, env={"PYTHONPATH": str(FOLDER), "HF_HUB_OFFLINE": "1"}, **options)

    return serve


def ask_python(code):
    """What the examples' interpreter prints, as JSON."""
    return json.loads(subprocess.run([PYTHON, "-c", code], capture_output=True, check=True).stdout)


# -- sentence embedding -----------------------------------------------------------------------------------------------------

PAIRS = [("A cat sleeps on the sofa.", "A kitten naps on the couch."), ("The stock market fell sharply.", "Share prices dropped today."),
         ("She plays the violin beautifully.", "He is a talented cello player."), ("It will rain tomorrow.", "The forecast says rain showers.")]


def cosine(one, other):
    return sum(a * b for a, b in zip(one, other))


def test_sentences_that_mean_alike_lie_closer_than_others(example):
    texts = [text for pair in PAIRS for text in pair]
    with example("embedding:Embedder.embed") as server:
        result = server.result({"texts": texts})
        assert server.result({"texts": texts}) == result
    vectors = result["vectors"]
    assert result["dimensions"] == 256 and [len(vector) for vector in vectors] == [256] * len(texts)
    assert all(math.isclose(cosine(vector, vector), 1, rel_tol=1e-5) for vector in vectors)
    for place, vector in enumerate(vectors):
        nearest = max((other for other in range(len(texts)) if other != place), key=lambda other: cosine(vector, vectors[other]))
        assert nearest == place ^ 1, (texts[place], texts[nearest])


def test_text_in_any_script_and_of_any_length_has_a_vector(example):
    with example("embedding:Embedder.embed") as server:
        result = server.result({"texts": ["今日はいい天気ですね", "Привет, мир", "🌞", "word " * 20000]})
    assert len(result["vectors"]) == 4 and all(len(vector) == 256 for vector in result["vectors"])


def test_a_thousand_sentences_are_one_message_and_one_more_is_too_many(example):
    with example("embedding:Embedder.embed", expect_log=["validation_error"]) as server:
        assert len(server.result({"texts": ["sentence number %d" % number for number in range(1000)]})["vectors"]) == 1000
        assert server.call({"texts": ["x"] * 1001})["error"] == "validation_error"


# -- pictures -----------------------------------------------------------------------------------------------------------------


def photograph(name):
    """One of the two photographs that come with scikit-learn, as base64."""
    return ask_python("import base64, json, pathlib, sklearn.datasets; print(json.dumps(base64.b64encode((pathlib.Path("
                      "sklearn.datasets.__file__).parent / 'images' / %r).read_bytes()).decode()))" % name)


def png_size(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR"
    return struct.unpack(">II", data[16:24])


def png(width, height, claimed=None):
    """A red picture, which may claim to be of another size."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = (b"\0" + b"\xff\0\0" * width) * height
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", *(claimed or (width, height)), 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def base64_text(data):
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_a_photograph_becomes_small_and_keeps_its_shape(example, name):
    with example("thumbnail") as server:
        result = server.result({"image": photograph(name), "size": 128})
    data = base64.b64decode(result["image"], validate=True)
    assert png_size(data) == (result["width"], result["height"]) == (128, 85), "640 x 427 before"
    assert len(data) > 10000, "a photograph, not a blank"


def test_colours_survive(example):
    with example("thumbnail") as server:
        result = server.result({"image": base64_text(png(200, 100)), "size": 10})
    assert png_size(base64.b64decode(result["image"])) == (10, 5)
    colours = ask_python("import base64, io, json; from PIL import Image; print(json.dumps(Image.open(io.BytesIO("
                         "base64.b64decode(%r))).getcolors()))" % result["image"])
    assert colours == [[50, [255, 0, 0]]]


@pytest.mark.parametrize("payload", [
    {}, {"image": 7}, {"image": "no base64!"}, {"image": base64_text(b"no picture")}, {"image": base64_text(png(200, 200)[:60])},
    {"image": base64_text(png(8, 8)), "size": 0}, {"image": base64_text(png(1, 1, claimed=(60000, 60000)))}],
    ids=["nothing", "a number", "no base64", "no picture", "a picture cut off", "no size", "a bomb"])
def test_what_is_no_picture_is_a_validation_error(example, payload):
    with example("thumbnail", expect_log=["WARNING validation_error"]) as server:
        assert server.call(payload)["error"] == "validation_error"


# -- a classifier -------------------------------------------------------------------------------------------------------------


def test_digits_it_has_never_seen_are_recognised(example):
    pixels, digits = ask_python("import json; from sklearn.datasets import load_digits; d = load_digits(); "
                                "print(json.dumps([d.data[1400:].tolist(), d.target[1400:].tolist()]))")
    with example("classifier:Digits.classify") as server:
        answers = [server.result({"pixels": one}) for one in pixels]
    assert len(answers) == 397
    right = sum(answer["digit"] == digit for answer, digit in zip(answers, digits))
    assert right / len(answers) > 0.88, right
    for answer in answers:
        assert len(answer["probabilities"]) == 10 and math.isclose(sum(answer["probabilities"]), 1, rel_tol=1e-9)
        assert answer["probabilities"][answer["digit"]] == max(answer["probabilities"])


@pytest.mark.parametrize("pixels", [None, [], [1, 2], "x" * 64, [[0] * 64]])
def test_what_is_no_digit_is_a_validation_error(example, pixels):
    with example("classifier:Digits.classify", expect_log=["WARNING validation_error"]) as server:
        assert server.call({"pixels": pixels})["error"] == "validation_error"
