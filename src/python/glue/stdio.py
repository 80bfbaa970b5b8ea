"""Standard output and error of a worker: what is printed costs no message its reply, whether anybody reads it or not.

Run once, before the user's module is imported. Set from outside, if at all: mark(), bytes that end
a text of the request that prints.
"""
import io
import sys
from _thread import get_ident


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


class _Marked(_File):
    """What is printed while others print, too: each text says of which request it is. Up to 4096 bytes a pipe takes whole."""

    def write(self, data):
        data = memoryview(data).cast("B")
        behind = mark()
        for at in range(0, len(data), 3500):
            _File.write(self, _nobody + data[at:at + 3500] + behind)
        return len(data)


class _Text(io.TextIOWrapper):
    """Line by line, also in a pipe; and open for the next message, whoever closes it."""

    def close(self):
        self.flush()


class _Lines(_Text):
    """The same where each line has marks: it is put together for each thread, so that no two get into one."""

    def write(self, text):
        held, me = self.held, get_ident()
        held[me] = whole = held.get(me, "") + text
        if len(whole) > 8192:
            self.flush()
        elif "\n" in text:
            end = whole.rfind("\n") + 1
            held[me] = whole[end:]
            self.out(whole[:end])
        return len(text)

    def out(self, text):
        self.buffer.raw.write(text.encode(self.encoding, self.errors))

    def flush(self):
        self.buffer.flush()
        text = self.held.pop(get_ident(), "")
        if text:
            self.out(text)


marked = "mark" in globals()
_nobody = mark() if marked else b""


def _replace(name):
    """Only a stream as the interpreter has made it: what sitecustomize or a wrapper has put there is theirs."""
    stream = getattr(sys, name)
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    if type(stream) is not io.TextIOWrapper or type(raw) is not io.FileIO:
        return
    stream.flush()
    file = (_Marked if marked else _File)(raw.fileno(), "wb", closefd=False)
    file.name = raw.name
    unbuffered = buffer is raw and not marked
    errors = "backslashreplace" if stream.errors in ("strict", "surrogateescape") else stream.errors
    text = (_Lines if marked else _Text)(file if unbuffered else io.BufferedWriter(file), stream.encoding, errors, "\n", True, unbuffered)
    text.mode = "w"
    text.held = {}
    if getattr(sys, "__%s__" % name) is stream:
        setattr(sys, "__%s__" % name, text)
    setattr(sys, name, text)


for _name in ("stdout", "stderr"):
    try:
        _replace(_name)
    except OSError:  # it cannot be flushed: it stays as it is
        pass
