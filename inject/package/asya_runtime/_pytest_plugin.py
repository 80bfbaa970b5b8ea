"""The fixture `asya_serve`. pytest loads this by the wheel's entry point; nothing else is imported until it is used."""
import contextlib

import pytest


@pytest.fixture
def asya_serve():
    """asya_serve("pkg.module:name", workers=2): a runtime as asya_runtime.testing.serve has it, until the test ends."""
    from . import testing

    with contextlib.ExitStack() as stack:
        yield lambda handler, **settings: stack.enter_context(testing.serve(handler, **settings))
