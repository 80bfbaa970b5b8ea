"""Standard output and error of a worker: what is printed costs no message its reply, whether anybody reads it or not.

Run once, before the user's module is imported.
"""
import io
import sys


class _File(io.FileIO):
    """The descriptor. Where it is non-blocking a full one is waited for, as a blocking one would be; what it does not take
    is dropped: its reader is gone, the disk is full, the function has closed it. Nothing could be said of it anywhere."""

    def write(self, data):
        try:
            written = io.FileIO.write(self, data)
            while written is None:
                import select

                room = select.poll()
                room.register(self.fileno(), select.POLLOUT)
                room.poll()
                written = io.FileIO.write(self, data)
            return written
        except OSError:
            return memoryview(data).nbytes


class _Text(io.TextIOWrapper):
    """Line by line, also in a pipe; and open for the next message, whoever closes it."""

    def close(self):
        self.flush()


def _replace(name):
    """Only a stream as the interpreter has made it: what sitecustomize or a wrapper has put there is theirs."""
    stream = getattr(sys, name)
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    if type(stream) is not io.TextIOWrapper or type(raw) is not io.FileIO:
        return
    stream.flush()
    file = _File(raw.fileno(), "wb", closefd=False)
    file.name = raw.name
    errors = "backslashreplace" if stream.errors in ("strict", "surrogateescape") else stream.errors
    text = _Text(file if buffer is raw else io.BufferedWriter(file), stream.encoding, errors, "\n", True, buffer is raw)
    text.mode = "w"
    if getattr(sys, "__%s__" % name) is stream:
        setattr(sys, "__%s__" % name, text)
    setattr(sys, name, text)


for _name in ("stdout", "stderr"):
    try:
        _replace(_name)
    except OSError:  # it cannot be flushed: it stays as it is
        pass
