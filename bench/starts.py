"""Section of bench/report.py: the start, the death of a worker, and memory. Each server is alone on the machine meanwhile."""
import contextlib
import os
import select
import signal
import statistics
import sys
import threading
import time

import peer
import picture
import run
import startup
import throughput

TITLE = "Start, recovery, memory"
STARTS = 5  # at most, and none more once START_SECONDS have gone
START_SECONDS = 4
KILLS = 3
KNOCK = 0.0005  # seconds between two attempts
PATIENCE = 5.0
LARGE = 1000  # messages of 1 MB, as far as they are done in LARGE_SECONDS
LARGE_SECONDS = 5
SETTLE = 1.0


@contextlib.contextmanager
def alone(make, body):
    """A server that has given its first good reply, and the milliseconds from its start until then."""
    server = make()
    try:
        server.wait_until_good(body, KNOCK)
        yield server, (time.perf_counter() - server.started) * 1e3
    finally:
        server.stop()


def wait_for_end(connection, killed, found):
    """What the client of a request gets whose worker is killed, and when."""
    reply = b""
    with contextlib.suppress(OSError), connection:
        while select.select([connection], [], [], PATIENCE)[0]:
            piece = connection.recv(65536)
            reply += piece
            if not piece:
                break
        else:
            found["pending"] = None
            return
    found["pending"] = (time.perf_counter() - killed) * 1e3
    found["answer"] = reply.partition(b"\r\n")[0].decode(errors="replace")[9:] or "no reply"


def kill_worker(server):
    """Kills the process that runs a request: {pending, answer, next}, milliseconds from the kill. next: None = never."""
    pid = peer.payload_of(server.wait_until_good(peer.body_of({"wait": 0}), 0.01))["pid"]
    connection = server.send(peer.body_of({"wait": 30}))
    time.sleep(0.3)  # it is running by then
    found = {"next": None}
    killed = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    waiter = threading.Thread(target=wait_for_end, args=(connection, killed, found))
    waiter.start()
    with contextlib.suppress(run.Skip):
        server.wait_until_good(peer.body_of({"wait": 0}), KNOCK, PATIENCE)
        found["next"] = (time.perf_counter() - killed) * 1e3
    waiter.join()
    return found


def memory(arguments, server, path):
    """kB: idle, and after large messages; how many those were."""
    time.sleep(SETTLE)
    idle = startup.pss(server.process.pid)
    line = peer.load(arguments, server, arguments.client_cores, "http-kept", path, "{", 1, LARGE_SECONDS, "--requests", LARGE)
    time.sleep(SETTLE)
    return {"idle": idle, "after": startup.pss(server.process.pid), "messages": line["requests"] if line else 0}


def measure_server(arguments, make_echo, make_patient, small, path):
    """All of one server."""
    found = {"start": [], "kills": []}
    while len(found["start"]) < min(STARTS, arguments.rounds) and sum(found["start"]) < START_SECONDS * 1e3:
        with alone(make_echo, small) as (server, took):
            found["start"].append(took)
            if "memory" not in found:
                found["memory"] = memory(arguments, server, path)
    for _ in range(min(KILLS, arguments.rounds)):
        with alone(make_patient, peer.body_of({"wait": 0})) as (server, _):
            time.sleep(SETTLE)
            found["kills"].append(kill_worker(server))
        if found["kills"][-1]["next"] is None:
            break
    return found


def measure(arguments):
    payloads = throughput.make_payloads()
    small = throughput.make_body("http", "93 B", payloads)
    figures = {}
    with peer.Fleet(arguments, arguments.server_cores) as echo, \
            peer.Fleet(arguments, arguments.server_cores, "patient") as patient:
        path = echo.write_body("1 MB", throughput.make_body("http", "1 MB of doubles", payloads))
        echoes, patients = makers_of(echo), makers_of(patient)
        for name in echoes:
            run.progress(f"start and recovery: {name}")
            try:
                figures[name] = measure_server(arguments, echoes[name], patients[name], small, path)
            except (run.Skip, OSError, ValueError, KeyError) as reason:
                print(f"{name}: left out: {reason!r}", file=sys.stderr)
    return figures


def makers_of(fleet):
    """The floor is no server that people could take, and waits for nothing."""
    makers = {name: make for name, make in fleet.makers().items() if name != "floor"}
    return {"runtime": makers.pop("runtime"),
            "runtime, a spare": lambda: fleet.make_runtime("runtime, a spare", ASYA_SPARES="1"),
            "runtime, preloaded": lambda: fleet.make_runtime("runtime, preloaded", ASYA_PRELOAD="true"), **makers}


def pending_cell(kills):
    if not kills:
        return ""
    times = [kill["pending"] for kill in kills if kill["pending"] is not None]
    return f"{kills[0]['answer']}, {picture.number(statistics.median(times))}" if times else f"none in {PATIENCE:g} s"


def next_cell(kills):
    if not kills:
        return ""
    times = [kill["next"] for kill in kills if kill["next"] is not None]
    return picture.number(statistics.median(times)) if len(times) == len(kills) else "dies"


def memory_cells(of):
    if of is None:
        return ["", ""]
    few = "" if of["messages"] >= LARGE else f" ({of['messages']:,} messages)"
    return [f"{of['idle'] / 1024:.1f}", f"{of['after'] / 1024:.1f}{few}"]


def table(figures):
    rows = [[name, picture.cell(of["start"]), pending_cell(of["kills"]), next_cell(of["kills"]), *memory_cells(of.get("memory"))]
            for name, of in figures.items()]
    return picture.markdown(["server", "start, ms", "request under way, ms", "next good reply, ms", "PSS idle, MiB",
                             f"PSS after {LARGE:,} of 1 MB, MiB"], rows)


def text(arguments, result):
    return (
        "Start: from the start of the program to its first good reply, median of "
        f"{min(STARTS, arguments.rounds)} (of fewer where it takes seconds). Then a worker gets `kill -9` in the middle of a "
        "request: what the client of that request gets, and when, and when the next request gets a good reply "
        f"(tried every {KNOCK * 1e3:g} ms; dies: not within {PATIENCE:g} s). One worker each (a spare: `ASYA_SPARES=1`, another "
        "one that is loaded; preloaded: `ASYA_PRELOAD=true`, which has a spare, too); uvicorn, and FastAPI with it, has no "
        "supervisor with one worker. Memory: the proportional set size of all processes, idle after the first replies and "
        f"{SETTLE:g} s after {LARGE:,} messages of 1 MB of doubles, or as many as were done in {LARGE_SECONDS} s.\n\n"
        + table(result))


def plot(result, path):
    names = list(result)
    starts = {name: statistics.median(of["start"]) for name, of in result.items()}
    after = {name: of["memory"]["after"] / 1024 for name, of in result.items() if of.get("memory")}
    times = {name: [kill["next"] for kill in of["kills"]] for name, of in result.items()}
    recovered = {name: statistics.median(of) for name, of in times.items() if of and None not in of}
    shown = {"start": starts, "next reply after kill -9": recovered, "memory after 1 MB messages": after}
    picture.bars(shown, names, {"start": "ms", "next reply after kill -9": "ms (none: dies)",
                                "memory after 1 MB messages": "MiB"}, path)
