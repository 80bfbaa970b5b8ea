"""The sidecars and queues around the actors of a flow, in one process: each actor is a runtime, each hop one POST /invoke.

What a sidecar does with an answer is what Asya's documents say of it: a frame goes to the actor in route.curr, the first one
with the message's id and the others with one of their own, no frame ends the message, and an error goes where the actor's
resiliency rules send it."""
import collections
import contextlib
import shutil

from harness import client
from harness.protocols import HttpConnection
from harness.runtime import RUNTIME, serve

MOST_HOPS = 200
RAISED = "(ERROR|WARNING) .*(processing|validation)_error"  # what actors do that the flow's `except` is about
STREAM = "text/event-stream"


def events_of(text):
    """The (name, data) of a whole stream of events."""
    events = []
    for event in text.decode().split("\n\n")[:-1]:
        name, data = event.split("\n")
        assert name.startswith("event: ") and data.startswith("data: "), event
        events.append((name[7:], client.strict_loads(data[6:].encode())))
    assert events[-1] == ("done", {}), events
    return events[:-1]


def post(path, message):
    """One message to an actor: (frames, what it sent upstream, the error or None)."""
    connection = HttpConnection(path)
    try:
        connection.request("POST", "/invoke", client.encode(message), {"Content-Type": "application/json"})
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.getheader("Content-Type") == STREAM:
        events = events_of(body)
        found = [[data for name, data in events if name == kind] for kind in ("downstream", "upstream", "error")]
        return found[0], found[1], found[2][0] if found[2] else None
    if response.status == 204:
        return [], [], None
    answer = client.strict_loads(body)
    return (answer["frames"], [], None) if response.status == 200 else ([], [], answer)


class Mesh:
    """The actors of one flow; a runtime is started with the first message for its actor."""

    def __init__(self, flow, python_path, env):
        self._actors, self._python_path, self._env = flow.actors, python_path, env
        self._program = flow.code / "asya_runtime.py"  # beside routers.py, as Asya mounts them in /opt/asya
        shutil.copy(RUNTIME, self._program)
        self._running = {}
        self._stack = contextlib.ExitStack()
        self._made = 0
        self.upstream = []

    def close(self):
        """Stops the runtimes, each of which is inspected as in any other test."""
        self._stack.close()

    def _runtime(self, name):
        if name not in self._running:
            actor = self._actors[name]
            env = {**actor.env, **self._env, "ASYA_PROCESS_MODULE": None, "ASYA_HANDLER": actor.handler,
                   "PYTHONPATH": self._python_path}
            self._running[name] = self._stack.enter_context(
                serve(env=env, program=self._program, allow_log=[RAISED], worker_descriptors=True))
        return self._running[name]

    def _sent(self, message, frame, index):
        """A frame as the message to the next actor."""
        sent = {**message, **frame}
        sent["headers"] = frame.get("headers", {})
        if index > 0:
            self._made += 1
            sent.update(id="%s-%d" % (message["id"], self._made), parent_id=message["id"])
        return sent

    def _failed(self, message, error):
        """The message after an error: to the actor that a rule names, or to its end."""
        status = {**message.get("status", {}), "phase": "failed", "error": error.get("details", error)}
        then = self._actors[message["route"]["curr"]].after(error["details"])
        if then is None:
            return {**message, "status": status, "route": {**message["route"], "curr": "", "next": []}}
        prev = [*message["route"]["prev"], message["route"]["curr"]]
        return {**message, "status": status, "route": {"prev": prev, "curr": then[0], "next": then[1:]}}

    def _deliver(self, message):
        """What comes of one message at its actor."""
        frames, upstream, error = post(self._runtime(message["route"]["curr"]).path, message)
        self.upstream += upstream
        if error is not None:
            return [self._failed(message, error)]
        return [self._sent(message, frame, index) for index, frame in enumerate(frames)]

    def run(self, start, payload, last_first=False, **members):
        """All messages that come out at the end for one that goes in. `upstream` is then what they sent there.

        last_first takes the newest message first, as a queue with several readers may."""
        route = {"prev": [], "curr": start, "next": []}
        queue = collections.deque([{"id": "m-1", "route": route, "payload": payload, **members}])
        ended = []
        self.upstream = []
        for _ in range(MOST_HOPS):
            if not queue:
                return ended
            message = queue.pop() if last_first else queue.popleft()
            for sent in self._deliver(message):
                (queue if sent["route"]["curr"] else ended).append(sent)
        raise AssertionError("the flow does not end: %r" % queue)
