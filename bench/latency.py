"""Section of bench/report.py: latencies when requests come at their own pace, whether a server keeps up or not.

The load client's loop is open: latencies run from the moment at which a request was due (bench/loop.h).
"""
import statistics
import subprocess

import peer
import picture
import run
import throughput

TITLE = "Latency"
CLIENTS = 64
SHARES = (0.5, 0.9)
SAME = "same"  # the rate that is 0.9 of the fastest peer's capacity
SEED = 20261130
TIMEOUT = 3
LEAST_SECONDS = 0.3  # of a run with an open loop: for a quantile of rare events there must be some
QUANTILES = ("p50_us", "p99_us", "p999_us")
LEAST = 1000  # requests that a p99.9 needs
ONE_AT_A_TIME = ("uWSGI",)  # a worker stays with a kept connection until that ends: it is measured on new ones

SMALL_RATE, SMALL_CLIENTS = 500, 16  # beside a client of large messages
NEIGHBOURS = ["10 MB string", "10 MB of records"]
FEW = 3  # rounds of that at most


def open_loop(arguments, server, cores, mode, path, clients, rate, seconds):
    """One run at that rate: its line."""
    return peer.load(arguments, server, cores, mode, path, server.expect[mode, "93 B"], clients, seconds,
                     "--rate", f"{rate:.1f}", "--seed", SEED, "--timeout", TIMEOUT)


def mode_of(server):
    return "http" if server.name in ONE_AT_A_TIME else "http-kept"


def keep(figures, place, name, line):
    """What of the line is needed. A run with requests that got no reply in time leaves its place without a line."""
    lines = figures.setdefault(place, {}).setdefault(name, [])
    if line is not None:
        lines.append({key: line[key] for key in (*QUANTILES, "requests", "rate", "kept_up")})


def measure_round(arguments, servers, path, figures):
    """Each server's capacity, then shares of it, then the rate that is the fastest peer's share, where it can take that."""
    cores, seconds = arguments.client_cores, max(LEAST_SECONDS, arguments.seconds)
    capacity = {}
    for server in servers:
        run.progress(f"latency: {server.name}")
        mode = mode_of(server)
        closed = peer.load(arguments, server, cores, mode, path, server.expect[mode, "93 B"], CLIENTS, arguments.seconds)
        if closed is None:
            continue
        capacity[server.name] = closed["requests_per_second"]
        for share in SHARES:
            rate = share * capacity[server.name]
            keep(figures, share, server.name,
                 open_loop(arguments, server, cores, mode, path, CLIENTS, rate, seconds))
    rate = SHARES[-1] * max((of for name, of in capacity.items() if name not in peer.OURS), default=0)
    for server in servers:
        if rate and SHARES[-1] * capacity.get(server.name, 0) >= rate:
            keep(figures, SAME, server.name,
                 open_loop(arguments, server, cores, mode_of(server), path, CLIENTS, rate, seconds))
    for name, of in capacity.items():
        figures.setdefault("capacity", {}).setdefault(name, []).append(of)


def measure_beside(arguments):
    """((mode, neighbour or None) -> name -> [lines]) of small messages alone and beside one client of large ones."""
    figures = {}
    payloads = throughput.make_payloads()
    with peer.Fleet(arguments, arguments.all_cores, workers=2) as fleet:
        servers = fleet.start(fleet.makers())
        body = throughput.make_body("http", "93 B", payloads)
        small = fleet.write_body("93 B", body)
        large = {name: fleet.write_body(name, throughput.make_body("http", name, payloads)) for name in NEIGHBOURS}
        servers = learn_both(servers, body)
        for _ in range(min(FEW, arguments.rounds)):
            for server in servers:
                for mode in dict.fromkeys(["http", mode_of(server)]):
                    for name in (None, *NEIGHBOURS):
                        if figures.get((mode, name), {}).get(server.name) == []:
                            continue  # requests got no reply in time, and would not now
                        run.progress(f"latency beside {name}: {server.name}, {mode}")
                        line = beside(arguments, server, mode, small, large.get(name))
                        keep(figures, (mode, name), server.name, line)
    return figures


def learn_both(servers, body):
    """Those that can take part; a reply begins alike on new and on kept connections."""
    found = throughput.takers(servers, "http", "93 B", body)
    for server in found:
        server.expect["http-kept", "93 B"] = server.expect["http", "93 B"]
    return found


def beside(arguments, server, mode, small, large):
    """One run with small messages; meanwhile one client sends the large one again and again, if there is one."""
    neighbour = None
    if large is not None:
        command = peer.load_command(arguments, server, "http-kept", large, "{", 1, 60)
        neighbour = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return open_loop(arguments, server, arguments.all_cores, mode, small, SMALL_CLIENTS, SMALL_RATE,
                         max(0.4, arguments.seconds))
    finally:
        if neighbour is not None:
            end(neighbour)


def end(neighbour):
    """Lets its last request end, so that the next figure is not disturbed by that, if it does soon."""
    neighbour.terminate()
    try:
        neighbour.wait(2)
    except subprocess.TimeoutExpired:
        neighbour.kill()
        neighbour.wait()


def measure(arguments):
    figures = {}
    with peer.Fleet(arguments, arguments.server_cores) as fleet:
        servers = fleet.start(fleet.makers())
        body = throughput.make_body("http", "93 B", throughput.make_payloads())
        path = fleet.write_body("93 B", body)
        taking_part = learn_both(servers, body)
        for _ in range(arguments.rounds):
            measure_round(arguments, taking_part, path, figures)
    return {"figures": figures, "names": [server.name for server in taking_part], "beside": measure_beside(arguments)}


def kept_up(lines):
    """In most rounds. Otherwise the rate is no load but a queue that grows, and a latency says how long the run was."""
    return 2 * sum(line["kept_up"] for line in lines) >= len(lines)


def middle(lines, key):
    """The median over the rounds; None where there is none: nothing measured, not kept up, too few for that quantile."""
    if not lines or not kept_up(lines) or (key == "p999_us" and statistics.median(line["requests"] for line in lines) < LEAST):
        return None
    return statistics.median(line[key] for line in lines)


def failure(lines):
    """Why there is no latency, in words; None where there is one."""
    if lines is None:
        return ""
    if not lines:
        return f"no reply in {TIMEOUT} s"
    return None if kept_up(lines) else "did not keep up"


def cell(lines):
    """Three quantiles."""
    if (words := failure(lines)) is not None:
        return words
    return " / ".join("–" if value is None else picture.number(value) for value in (middle(lines, key) for key in QUANTILES))


def best_peer(by_name, key):
    """The smallest median of a peer."""
    values = [middle(lines, key) for name, lines in by_name.items() if name not in peer.OURS]
    return min((value for value in values if value is not None), default=None)


def advantage(by_name):
    """p99.9 of the best peer to the runtime's."""
    best, own = best_peer(by_name, "p999_us"), middle(by_name.get("runtime"), "p999_us")
    return f"**{best / own:.1f}**" if best and own else ""


def load_table(figures, names):
    columns = [*SHARES, SAME]
    same = [line["rate"] for lines in figures.get(SAME, {}).values() for line in lines]
    rate = statistics.median(same) if same else 0
    rows = [[name, picture.cell(figures["capacity"].get(name)), *[cell(figures.get(at, {}).get(name)) for at in columns]]
            for name in names]
    rows.append(["best peer's p99.9 / the runtime's", "", *[advantage(figures.get(at, {})) for at in columns]])
    heads = [f"at {share:.0%} of it" for share in SHARES]
    return picture.markdown(["server", "capacity, requests a second", *heads, f"at {rate:,.0f} a second"], rows)


def slowed(figures, mode, neighbour, name):
    """p99 beside the neighbour, and how many times that is of p99 alone."""
    beside_it, alone = (figures.get((mode, at), {}).get(name) for at in (neighbour, None))
    if (words := failure(beside_it)) is not None:
        return words
    p99 = middle(beside_it, "p99_us")
    times = "" if failure(alone) is not None else f" ({p99 / middle(alone, 'p99_us'):.1f})"
    return picture.number(p99) + times


def beside_table(figures, names):
    heads, rows = ["server"], [[name] for name in names]
    for mode, word in (("http", "new"), ("http-kept", "kept")):
        heads += [f"{word}, alone", *[f"beside {name}" for name in NEIGHBOURS]]
        for row in rows:
            alone = figures.get((mode, None), {}).get(row[0])
            words = failure(alone)
            row.append(picture.number(middle(alone, "p99_us")) if words is None else words)
            row += [slowed(figures, mode, name, row[0]) for name in NEIGHBOURS]
    return picture.markdown(heads, rows)


def text(arguments, result):
    beside_names = [name for name in result["names"] if any(name in by_name for by_name in result["beside"].values())]
    return (
        f"Microseconds, p50 / p99 / p99.9, of 93 B over HTTP on {CLIENTS} kept connections, when requests come at random "
        f"moments (Poisson, seed {SEED}) at a share of what the same server did in a closed loop just before, and at one rate "
        "for all that can take it: 90 % of the fastest peer's capacity. A latency counts from the moment at which the request "
        f"was due. uWSGI serves one kept connection at a time and has new ones here. "
        f"Medians of {arguments.rounds} rounds of {max(LEAST_SECONDS, arguments.seconds):g} s; one core for the servers.\n\n"
        + load_table(result["figures"], result["names"])
        + f"\np99 in microseconds of {SMALL_RATE} messages of 93 B a second on new and on kept connections, alone and (how many "
        "times that) while one client sends 10 MB again and again. Two workers, on all cores, which the load clients share; "
        f"medians of {min(FEW, arguments.rounds)} rounds.\n\n" + beside_table(result["beside"], beside_names))


def plot(result, path):
    titles = {0.5: "p99.9 at 50 %", 0.9: "p99.9 at 90 %", SAME: "p99.9 at the same rate"}
    shown = {title: {name: middle(lines, "p999_us") or 0 for name, lines in result["figures"].get(at, {}).items()}
             for at, title in titles.items()}
    picture.bars(shown, result["names"], "microseconds", path, log=True)
