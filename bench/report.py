#!/usr/bin/env python3
"""Compare the runtime with the servers that people would take instead, side by side in one run.

All of them serve the same functions by POST /invoke, over a Unix socket where they can listen on one and over TCP on
127.0.0.1 where they cannot (mosec, LitServe). They run on one processor and the load client on the others. Servers take
turns in each round; a figure is the median over the rounds, with the spread beside it. Every reply is checked.

  runtime     this project; its messages carry the envelope of the protocol, some 90 bytes more than the others get back
  floor       asya-echo, the runtime's server layer without JSON and without Python
  upstream    Asya's own runtime in Python, with --upstream PATH
  others      see PEERS in bench/peer.py

Sections, each a module: throughput, latency, concurrency, starts. `make report` writes the tables into docs/performance.md
and the plots into docs/images.
"""

import argparse
import importlib.metadata
import os
import pathlib
import sys
import time

import concurrency
import latency
import peer
import run
import starts
import throughput

SECTIONS = {"throughput": throughput, "latency": latency, "concurrency": concurrency, "starts": starts}
PICTURES = {"throughput": "servers.svg", "latency": "latency.svg", "concurrency": "concurrency.svg", "starts": "starts.svg"}


def marks(section):
    """The lines of the page between which a section is written."""
    return f"<!-- bench/report.py writes {section} from here -->\n", f"<!-- {section}: to here -->\n"


def write_page(page, section, text):
    """Puts the text between the marks of the page."""
    begin, end = marks(section)
    before, has_begin, rest = page.read_text().partition(begin)
    _, has_end, after = rest.partition(end)
    if not has_begin or not has_end:
        raise SystemExit(f"{page} has no marks for {section}")
    page.write_text(before + begin + text + end + after)


def describe(arguments):
    """The machine, and the versions of what takes part."""
    facts = run.machine_facts(arguments)
    versions = [f"{name} {importlib.metadata.version(package)}" for name, (package, _) in peer.PEERS.items()
                if peer.is_installed(package) and (not arguments.peers or name in arguments.peers)]
    return (f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, {facts['python']}, {facts['date']}; load average "
            f"before: {facts['load_average_before']}. {', '.join(versions)}, orjson {importlib.metadata.version('orjson')}.")


def commands_text():
    """The command of each peer, as it is started with one worker."""
    lines = [" ".join(peer.fill(words.replace("BIN/", "").replace("PEERS/", "bench/peers/"), "", "PORT"))
             for _, words in peer.PEERS.values()]
    return "```text\n" + "\n".join(lines) + "\n```\n"


def names_in(text):
    names = text.split(",")
    if unknown := set(names) - SECTIONS.keys():
        raise argparse.ArgumentTypeError(f"no such section: {', '.join(sorted(unknown))}")
    return names


def parse_arguments():
    root = run.ROOT
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", type=names_in, default=list(SECTIONS), help="only these; default " + ",".join(SECTIONS))
    parser.add_argument("--runtime", type=pathlib.Path, default=root / "dist" / "asya_runtime.py", help="the one file")
    parser.add_argument("--upstream", type=pathlib.Path, help="asya_runtime.py of Asya itself, which is no package")
    parser.add_argument("--peers", type=lambda text: text.split(","), help="only these; default all that are installed")
    parser.add_argument("--bodies", type=lambda text: text.split(","), help="of throughput: only these; default all")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each measurement (default 0.2)")
    parser.add_argument("--build", type=pathlib.Path, default=root / "build" / "release", help="where asya-load is")
    parser.add_argument("--page", type=pathlib.Path, help="write the tables between the marks of this page")
    parser.add_argument("--pictures", type=pathlib.Path, help="write the plots into this folder")
    arguments = parser.parse_args()
    arguments.load = run.find_program("asya-load", arguments.build)
    arguments.echo = run.find_program("asya-echo", arguments.build)
    if arguments.load is None or not arguments.runtime.exists():
        parser.error("build first: make")
    if arguments.rounds < 1 or arguments.seconds <= 0:
        parser.error("rounds and seconds must be positive")
    arguments.load = arguments.load.resolve()
    arguments.echo = arguments.echo.resolve() if arguments.echo else None
    arguments.runtime = arguments.runtime.resolve()
    arguments.upstream = arguments.upstream.resolve() if arguments.upstream else None
    arguments.programs = pathlib.Path(sys.executable).parent
    arguments.python = sys.executable
    arguments.set, arguments.pin = [], True
    arguments.all_cores = sorted(os.sched_getaffinity(0))
    arguments.server_cores, arguments.client_cores = arguments.all_cores[:1], arguments.all_cores[1:]
    if not arguments.client_cores:
        parser.error("needs two processors: one for the servers, the others for the load client")
    return arguments


def main():
    arguments = parse_arguments()
    for name in arguments.sections:
        section, began = SECTIONS[name], time.monotonic()
        facts = describe(arguments)
        result = section.measure(arguments)
        text = facts + "\n\n" + section.text(arguments, result)
        print(f"## {section.TITLE}\n\n{text}", flush=True)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        if arguments.page:
            write_page(arguments.page, name, text)
        if arguments.pictures:
            section.plot(result, arguments.pictures / PICTURES[name])
    if arguments.page:
        write_page(arguments.page, "commands", commands_text())
    return 0


if __name__ == "__main__":
    run.exit_with(main)
