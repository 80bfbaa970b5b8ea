"""Section of bench/report.py: many clients at once, functions that wait, and streams of events."""
import socket
import statistics
import sys
import time

import peer
import picture
import run

TITLE = "Many at once, and streams"
CLIENTS = (1, 8, 64, 512)
WAITS = {"no wait": 0, "10 ms": 0.01}
THREADS = 512  # as many as clients at most, in each server that has threads
ROUNDS = 5
EVENTS = 5000

# name -> words of its command, as in peer.PEERS
WAITING = {"uvicorn": peer.PEERS["uvicorn"][1], "granian ASGI": peer.PEERS["granian ASGI"][1],
           "granian WSGI, threads": peer.PEERS["granian WSGI"][1],
           "gunicorn, threads": peer.PEERS["gunicorn"][1].replace("--threads 8", "--threads THREADS")}
STREAMING = {"uvicorn": WAITING["uvicorn"].replace("apps:asgi", "apps:asgi_events"),
             "granian ASGI": WAITING["granian ASGI"].replace("apps:asgi", "apps:asgi_events"),
             "granian WSGI": WAITING["granian WSGI, threads"].replace("apps:wsgi", "apps:wsgi_events"),
             "gunicorn": peer.PEERS["gunicorn"][1].replace("apps:wsgi", "apps:wsgi_events")}


def is_wanted(arguments, name):
    plain = name.partition(",")[0]
    return peer.is_installed(peer.PEERS[plain][0]) and (not arguments.peers or plain in arguments.peers)


def makers_of(fleet, ours, peers, threads):
    """name -> a function that starts it. `ours`: name -> settings of the runtime."""
    makers = {name: lambda name=name, more=more: fleet.make_runtime(name, **more) for name, more in ours.items()}
    for name, words in peers.items():
        if is_wanted(fleet.arguments, name):
            makers[name] = lambda name=name, words=words: fleet.make_peer(name, words, threads)
    return makers


def measure_waiting(arguments):
    """(wait, clients) -> name -> [requests a second]."""
    figures = {}
    many = str(THREADS)
    ours = {"runtime, threads": {"ASYA_CONCURRENCY": many, "ASYA_PROCESS_MODULE": "apps:patient"},
            "runtime, tasks": {"ASYA_CONCURRENCY": many, "ASYA_PROCESS_MODULE": "apps:patient_async"}}
    with peer.Fleet(arguments, arguments.server_cores, "patient") as fleet:
        servers = fleet.start(makers_of(fleet, ours, WAITING, THREADS))
        for title, wait in WAITS.items():
            body = peer.body_of({"wait": wait})
            path = fleet.write_body(title, body)
            expect = {server.name: server.wait_until_good(body, 0.1)[:8].decode() for server in servers}
            for clients in CLIENTS:
                for _ in range(min(ROUNDS, arguments.rounds)):
                    for server in servers:
                        run.progress(f"{title}, {clients} clients: {server.name}")
                        line = peer.load(arguments, server, arguments.client_cores, "http-kept", path, expect[server.name],
                                         clients, arguments.seconds)
                        if line is not None:
                            figures.setdefault((title, clients), {}).setdefault(server.name, []).append(
                                line["requests_per_second"])
    return figures, [server.name for server in servers]


def events_per_second(server, body):
    """Of one stream: from before the connection is made until its end. None if events are missing."""
    began = time.perf_counter()
    seen, last = 0, b""
    with server.send(body) as connection:
        while piece := connection.recv(1 << 18):
            piece = last + piece
            seen += piece.count(b"\ndata: ")
            last = piece[-7:] if not piece.endswith(b"\ndata: ") else b""
            if last.endswith(b"\r\n0\r\n\r\n"[-7:]):
                break
    took = time.perf_counter() - began
    if seen - server.name.startswith("runtime") != EVENTS:  # the runtime says `done` at the end
        print(f"{server.name}: {seen} events instead of {EVENTS}", file=sys.stderr)
        return None
    return EVENTS / took


def measure_streaming(arguments):
    """name -> [events a second]."""
    figures = {}
    ours = {"runtime": {"ASYA_PROCESS_MODULE": "apps:events"}}
    body = peer.body_of({"events": EVENTS})
    with peer.Fleet(arguments, arguments.server_cores, "events") as fleet:
        servers = fleet.start(makers_of(fleet, ours, STREAMING, 1))
        run.pin(arguments.client_cores)
        try:
            for number in range(arguments.rounds + 1):
                for server in servers:
                    run.progress(f"events: {server.name}")
                    try:
                        rate = events_per_second(server, body)
                    except (OSError, socket.timeout) as reason:
                        print(f"{server.name}: no events: {reason}", file=sys.stderr)
                        rate = None
                    if rate is not None and number > 0:  # the first warms up
                        figures.setdefault(server.name, []).append(rate)
        finally:
            run.pin(arguments.all_cores)
    return figures


def measure(arguments):
    waiting, names = measure_waiting(arguments)
    return {"waiting": waiting, "names": names, "streaming": measure_streaming(arguments)}


def best(values_by_name, is_ours):
    return max((statistics.median(values) for name, values in values_by_name.items()
                if name.startswith("runtime") == is_ours), default=None)


def ratio(values_by_name):
    own, other = best(values_by_name, True), best(values_by_name, False)
    return f"**{own / other:.2f}**" if own and other else ""


def waiting_table(figures, names):
    heads = [f"{title}, {clients}" for title, clients in figures]
    rows = [[name, *[picture.cell(by_name.get(name)) for by_name in figures.values()]] for name in names]
    rows.append(["the runtime's better / fastest peer", *[ratio(by_name) for by_name in figures.values()]])
    return picture.markdown(["server", *heads], rows)


def streaming_table(figures):
    rows = [[name, picture.cell(values)] for name, values in figures.items()]
    return picture.markdown(["server", "events a second"], [*rows, ["runtime / fastest peer", ratio(figures)]])


def text(arguments, result):
    return (
        f"Requests a second of a function that waits (`time.sleep` in threads, `asyncio.sleep` in tasks) or does not, for 1 to "
        f"512 clients on kept connections. Each server of threads has {THREADS}: `ASYA_CONCURRENCY={THREADS}`, "
        f"`--blocking-threads {THREADS}`, `--threads {THREADS}`. Medians of {min(ROUNDS, arguments.rounds)} rounds of "
        f"{arguments.seconds:g} s; one core for the servers.\n\n"
        + waiting_table(result["waiting"], result["names"])
        + f"\nEvents a second of one stream of {EVENTS:,} (server-sent events of 80 bytes), the client in Python. uvicorn on "
        "uvloop sends together what is made without a pause, up to 64 KiB; the others send each event when it is made. The floor "
        "cannot stream.\n\n" + streaming_table(result["streaming"]))


def plot(result, path):
    shown = {title: {name: {clients: statistics.median(by_name[name]) for (of, clients), by_name in result["waiting"].items()
                            if of == title and name in by_name} for name in result["names"]} for title in WAITS}
    picture.lines(shown, CLIENTS, "clients", "requests a second", path)
