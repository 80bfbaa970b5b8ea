"""What the module asya_runtime offers, be it the package or the single file."""
from typing import Any, Dict, List, Optional, type_check_only

__version__: str

def loads(data: bytes, /) -> Any:
    """Decode one JSON value from UTF-8 bytes. Raises ValueError, which names the error category."""

def dumps(obj: object, /) -> bytes:
    """Encode an object as JSON in UTF-8. Raises TypeError or ValueError with the path to the culprit."""

def main(argv: List[str], /) -> int:
    """Run the command line; argv[0] is the program's name. Returns the exit code, which is for sys.exit(): serving forks
    worker processes, in each of which this returns as well."""

class HandlerTimeout(BaseException):
    """Raised in a function that has run longer than ASYA_HANDLER_TIMEOUT."""

class ClientGone(BaseException):
    """Raised in a function whose client has gone away, where ASYA_CANCEL_ON_DISCONNECT is set."""

class ShuttingDown(BaseException):
    """Raised in a function that still runs when the last second of ASYA_GRACE_PERIOD begins."""

@type_check_only
class Context:
    """What is known of one request. Strings are "" and dicts {} where there is nothing."""

    @property
    def id(self) -> str: ...
    @property
    def parent_id(self) -> str: ...
    @property
    def headers(self) -> Dict[str, Any]: ...
    @property
    def route(self) -> Dict[str, Any]: ...
    @property
    def traceparent(self) -> str: ...
    @property
    def deadline(self) -> Optional[float]:
        """When the function is cancelled, as time.monotonic() counts; None for never."""
    @property
    def cancelled(self) -> bool: ...
    @property
    def ended(self) -> bool:
        """Whether the function is through with the request: for threads that go on after it."""

def fly_text(text: str, artifact_id: str = "stream-0", last: bool = False) -> Dict[str, Any]:
    """A piece of text for a client that reads along: yield "FLY", fly_text("a"). `last`: no more comes for this artifact."""

def fly_status(message: str) -> Dict[str, Any]:
    """A line about how far the work is: yield "FLY", fly_status("reading the model")."""

def context() -> Optional[Context]:
    """The request that this function, task or copied context works on; None outside of one."""

from . import metrics as metrics  # noqa: E402
