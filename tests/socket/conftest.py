"""What the tests of this folder share."""
import pytest


@pytest.fixture(scope="module")
def echoing(runtime):
    with runtime("answers:echo") as server:
        yield server


@pytest.fixture
def echo(echoing):
    """For tests in which nothing may be logged."""
    with echoing.watched() as server:
        yield server


@pytest.fixture(scope="module")
def describing(runtime):
    with runtime("answers:described", env={"ASYA_PROTOCOL": "raw"}) as server:
        yield server


@pytest.fixture
def described(describing):
    """Answers with what it was given, in words; bad messages may be logged."""
    with describing.watched(allow_log=["WARNING .*(invalid_json|invalid_encoding)"]):
        yield describing
