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
