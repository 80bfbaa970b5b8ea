"""Section of bench/report.py: requests a second of clients that send as fast as the answers come, over bodies and protocols."""
import random
import statistics
import sys

import peer
import picture
import run

TITLE = "Requests a second"

# (mode, name of the body, clients)
ROWS = [("http", "93 B", 8), ("http-kept", "93 B", 8), ("raw", "93 B", 8),
        ("http", "9 KB", 8), ("http-kept", "9 KB", 8), ("raw", "9 KB", 8),
        ("http-kept", "1 MB of doubles", 1), ("raw", "1 MB of doubles", 1),
        ("http-kept", "10 MB string", 1), ("http-kept", "10 MB of records", 1)]
WORDS = {"http": "new", "http-kept": "kept", "raw": "bare"}


def make_payloads():
    """name -> value, the same in every run."""
    small = run.make_payloads()
    chance = random.Random(20261130)
    letters = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz ,.", k=1 << 20))
    return {"93 B": small["93 B"], "9 KB": small["9 KB"], "1 MB of doubles": small["1 MB"],
            "10 MB string": {"text": letters * 10}, "10 MB of records": {"records": small["9 KB"]["records"] * 1100}}


def make_body(mode, name, payloads):
    return run.make_body(mode.partition("-")[0], name if name == "93 B" else "", payloads[name])


def takers(servers, mode, name, body):
    """Those that answer it rightly. Bare JSON is the runtime's own protocol: the others speak HTTP alone."""
    found = []
    for server in servers:
        if mode == "raw" and server.name not in peer.OURS:
            continue
        try:
            server.learn(mode, name, body)
            found.append(server)
        except (run.Skip, OSError) as reason:
            print(f"{server.name}: left out of {mode}, {name}: {reason}", file=sys.stderr)
    return found


def measure(arguments):
    """(mode, body, clients) -> {server: [requests a second in each round]}."""
    with peer.Fleet(arguments, arguments.server_cores) as fleet:
        servers = fleet.start(fleet.makers())
        payloads = make_payloads()
        figures = {}
        for row in ROWS:
            if not arguments.bodies or row[1] in arguments.bodies:
                figures[row] = measure_row(arguments, fleet, servers, row, payloads)
    return {"figures": figures, "names": [server.name for server in servers]}


def measure_row(arguments, fleet, servers, row, payloads):
    mode, name, clients = row
    body = make_body(mode, name, payloads)
    path = fleet.write_body(name, body)
    taking_part = takers(servers, mode, name, body)
    rates = {server.name: [] for server in taking_part}
    for number in range(arguments.rounds):
        for server in taking_part:
            if server.name in rates:
                run.progress(f"{mode}, {name}, round {number + 1}: {server.name}")
                line = peer.load(arguments, server, arguments.client_cores, mode, path, server.expect[mode, name], clients,
                                 arguments.seconds)
                if line is None:
                    del rates[server.name]
                else:
                    rates[server.name].append(line["requests_per_second"])
    return rates


def fastest_peer(figures, row):
    """The most requests a second that a peer did with this body; None where none took part."""
    mode, name, _ = row
    of_body = [rates for other, rates in figures.items() if other[1] == name and mode in (other[0], "raw")]
    return max((statistics.median(rates[server]) for rates in of_body for server in rates if server not in peer.OURS),
               default=None)


def ratios(figures, against):
    """A cell for each row: the runtime's median to what `against` gives for the row."""
    cells = []
    for row in figures:
        other = against(row)
        known = other and "runtime" in figures[row]
        cells.append(f"**{statistics.median(figures[row]['runtime']) / other:.2f}**" if known else "")
    return cells


def table(figures, names):
    """Markdown: a row for each server, a column for each kind of request, and ratios to the fastest peer."""
    titles = [f"{body}, {WORDS[mode]}, {clients}" for mode, body, clients in figures]
    rows = [[name, *[picture.cell(figures[row].get(name)) for row in figures]] for name in names]
    rows.append(["runtime / fastest peer", *ratios(figures, lambda row: fastest_peer(figures, row))])
    rows.append(["runtime / floor", *ratios(figures, lambda row: statistics.median(figures[row]["floor"])
                                            if figures[row].get("floor") else None)])
    return picture.markdown(["server", *titles], rows)


def text(arguments, result):
    return (f"Requests a second, medians of {arguments.rounds} rounds of {arguments.seconds:g} s (± half the distance of the "
            "slowest and the fastest round); size of the body, connection (new: one a request; kept; bare: JSON without HTTP, a "
            "connection a request), clients. One core for the servers. The others speak HTTP alone: bare JSON is compared with "
            "the fastest of them over HTTP, new or kept.\n\n" + table(result["figures"], result["names"]))


def plot(result, path):
    bars = {f"{row[1]}, {WORDS[row[0]]}": {name: statistics.median(rates) for name, rates in by_name.items()}
            for row, by_name in result["figures"].items() if row[0] != "raw"}
    picture.bars(bars, result["names"], "requests a second", path)
