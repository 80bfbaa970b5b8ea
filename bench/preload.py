"""What ASYA_PRELOAD does with libraries that start threads, and what it saves; the tables of docs/preload.md.

    PYTHON bench/preload.py libraries [NAME[:loaded|:used][,VARIABLE=VALUE...] ...]
    PYTHON bench/preload.py memory [--model numpy|dicts|collect] [--workers 4] [--touch 500]
                            [--requests 100000] [--preload false] [--no-freeze]

PYTHON has the libraries (preload_models.py); ASYA_RUNTIME is the file under test, dist/asya_runtime.py if it is not set.
`libraries` compares 200 answers of two forked workers with those of a process that was never forked, kills a worker
with SIGKILL, and asks again.
"""
import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
RUNTIME = os.path.abspath(os.environ.get("ASYA_RUNTIME", os.path.join(HERE, "..", "dist", "asya_runtime.py")))
REQUESTS, PATIENCE = 200, 20
LIBRARIES = "numpy sklearn sklearn_hist sklearn_fit joblib_threads joblib_loky xgboost onnxruntime tokenizers polars torch".split()
MODULE = """
import os, sys
sys.path.insert(0, %(here)r)
import preload_models
made = os.getpid()
answer = preload_models.load(%(name)r, %(use)r)
def process(n):
    return [answer(n), os.getpid(), made]
"""
DICTS = "import gc\nmodel = [{'id': k, 'name': 'n%d' % k, 'of': [k]} for k in range(200000)]\n"
MEMORY = {  # `touch()` is what one in --touch requests does
    "numpy": "import numpy\nmodel = numpy.ones(%d // 8)\ntouch = lambda: float(model.sum())" % (500 << 20),
    "dicts": DICTS + "touch = lambda: sum(one['id'] + len(one['name']) + one['of'][0] for one in model)",
    "collect": DICTS + "touch = gc.collect",
}


def ask(path, value):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(path)
        connection.sendall(json.dumps(value).encode())
        connection.shutdown(socket.SHUT_WR)
        return json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))


class Server:
    """A runtime in `folder` with the module handler.py there."""

    def __init__(self, folder, env, runtime=RUNTIME):
        self.path, self.log = folder + "/s", folder + "/log"
        self.env = {**{k: v for k, v in os.environ.items() if not k.startswith("ASYA_")}, **env, "ASYA_SOCKET_PATH": self.path,
                    "ASYA_PROCESS_MODULE": "handler:process"}
        self.folder, self.runtime = folder, runtime

    def check(self):
        done = subprocess.run([sys.executable, self.runtime, "check", "--preload", "true"], cwd=self.folder, env=self.env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
        return next((line for line in done.stdout.splitlines() if "PRELOAD" in line), done.stdout)

    def __enter__(self):
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([sys.executable, self.runtime], cwd=self.folder, env=self.env, stdout=log, stderr=log)
        until = time.monotonic() + 120
        while True:
            try:
                ask(self.path, 0)
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(open(self.log).read())
                time.sleep(0.05)

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def lines(self, pattern):
        with open(self.log) as log:
            return [line.strip() for line in log if re.search(pattern, line)]

    def memory(self):
        """PSS of the runtime's processes in MiB, its own included."""
        found, parents = 0, {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/stat" % pid) as file:
                    parents[int(pid)] = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                pass
        for pid in parents:
            above = pid
            while above in parents and above != self.process.pid:
                above = parents[above]
            if above == self.process.pid:
                with open("/proc/%d/smaps_rollup" % pid) as file:
                    found += int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M).group(1))
        return found / 1024


def ask_all(path, expected):
    """Both workers at once: what was wrong, and the processes that answered (pid, who loaded the module)."""
    wrong, pids, numbers = [], set(), iter(range(len(expected)))

    def one():
        for n in numbers:
            try:
                reply = ask(path, n)
                value, pid, made = reply["result"]
                pids.add((pid, made))
                if abs(value - expected[n]) > 1e-4 * abs(expected[n]):
                    wrong.append("%d: %r instead of %r" % (n, value, expected[n]))
            except Exception as error:
                wrong.append("%d: %r" % (n, error if isinstance(error, OSError) else reply))
                if len(wrong) > 3:
                    return

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong, pids


def try_library(name, use, env, folder):
    with open(folder + "/handler.py", "w") as file:
        file.write(MODULE % {"here": HERE, "name": name, "use": use})
    code = "import handler, json; print(json.dumps([handler.answer(n) for n in range(%d)]))" % REQUESTS
    alone = subprocess.run([sys.executable, "-c", code], cwd=folder, env={**os.environ, **env}, stdout=subprocess.PIPE, timeout=300)
    expected = json.loads(alone.stdout.splitlines()[-1])
    found = {"library": name, "variant": "used" if use else "loaded", "env": env}
    with Server(folder, {"ASYA_PRELOAD": "true", "ASYA_WORKERS": "2", **env}) as server:
        found["check"] = server.check()
        wrong, pids = ask_all(server.path, expected)
        found["forked"] = sorted(made != pid for pid, made in pids)
        if pids:
            os.kill(min(pids)[0], signal.SIGKILL)
            again, pids = ask_all(server.path, expected)
            found["forked after kill -9"] = sorted(made != pid for pid, made in pids)
            wrong += again
        found["wrong"] = wrong
        found["lines"] = [line for line in server.lines("WARNING|ERROR") if "SIGKILL" not in line]
    return found


def libraries(names):
    folder = tempfile.mkdtemp()
    os.environ["PYTHONPATH"] = folder
    for text in names or LIBRARIES:
        text, *env = text.split(",")
        name, _, variant = text.partition(":")
        subprocess.run([sys.executable, HERE + "/preload_models.py", name], cwd=folder, check=True)
        for use in [variant == "used"] if variant else [False, True]:
            began, load = time.monotonic(), os.getloadavg()[0]
            found = try_library(name, use, dict(one.split("=") for one in env), folder)
            print(json.dumps({**found, "seconds": round(time.monotonic() - began, 1), "load": load}, indent=1), flush=True)


def memory(options):
    folder = tempfile.mkdtemp()
    with open(folder + "/handler.py", "w") as file:
        if options.no_freeze:
            file.write("import gc\ngc.freeze = lambda: None\n")
        file.write(MEMORY[options.model] + "\ndef process(n):\n    return touch() if n else [[k] for k in range(100)][0]\n")
    env = {"ASYA_PRELOAD": options.preload, "ASYA_WORKERS": str(options.workers)}
    with Server(folder, env) as server:
        time.sleep(3)  # all workers and the spare are there
        started, first = time.monotonic(), server.memory()
        print("load %.1f; at the start: %.0f MiB" % (os.getloadavg()[0], first), flush=True)
        numbers, every = iter(range(options.requests)), options.touch

        def some():
            for n in numbers:
                ask(server.path, int(n % every == 0))

        threads = [threading.Thread(target=some) for _ in range(options.workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print("load %.1f; after %d requests in %.0f s: %.0f MiB" % (
            os.getloadavg()[0], options.requests, time.monotonic() - started, server.memory()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("libraries").add_argument("names", nargs="*")
    command = commands.add_parser("memory")
    command.add_argument("--model", choices=MEMORY, default="numpy")
    command.add_argument("--workers", type=int, default=4)
    command.add_argument("--requests", type=int, default=100000)
    command.add_argument("--touch", type=int, default=500, help="the whole model is read in one of so many requests")
    command.add_argument("--preload", default="true")
    command.add_argument("--no-freeze", action="store_true")
    options = parser.parse_args()
    if options.command == "libraries":
        libraries(options.names)
    else:
        memory(options)


if __name__ == "__main__":
    main()
