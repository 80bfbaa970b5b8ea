#!/usr/bin/env python3
"""RabbitMQ, two actors with two sidecars each, and everything that goes wrong on a bad day.

Publishes messages to the queue of the first actor, which makes three of each for the second. Some messages are refused by
the first actor, some of their parts by the second. Meanwhile workers are killed at random, one runtime is killed as a whole
and started again, and the other one is stopped and started. Then counts what has arrived: every part exactly once in the
sink, every error exactly once in the sump. Exit status 1 if a message is lost, is there twice, or is in the wrong place.

Run by `make pipeline-demo`, which installs RabbitMQ and pika. With --amqp it uses a broker that is there, and queues
whose names begin with `demo-`."""
import argparse
import collections
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pika

HERE = pathlib.Path(__file__).resolve().parent
RUNTIME = pathlib.Path(os.environ.get("ASYA_RUNTIME", HERE.parents[1] / "dist" / "asya_runtime.py"))
SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
ACTORS = {"demo-split": "split", "demo-measure": "measure"}
SINK, SUMP = "demo-sink", "demo-sump"
WORDS = 3  # of a message
EMPTY_EACH, ODD_EACH = 100, 50  # one message in so many is empty, or has a word that cannot be measured


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def broker(folder):
    """A RabbitMQ of our own, on ports that are free. Gives its address."""
    port, epmd = free_port(), free_port()
    environment = {**os.environ, "HOME": folder, "RABBITMQ_NODENAME": "pipeline@localhost",
                   "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_NODE_PORT": str(port),
                   "RABBITMQ_DIST_PORT": str(free_port()), "ERL_EPMD_PORT": str(epmd), "ERL_EPMD_ADDRESS": "127.0.0.1",
                   "RABBITMQ_MNESIA_BASE": folder + "/data", "RABBITMQ_LOG_BASE": folder + "/log",
                   "RABBITMQ_CONFIG_FILE": folder + "/none", "RABBITMQ_ENABLED_PLUGINS_FILE": folder + "/plugins",
                   "RABBITMQ_CONF_ENV_FILE": folder + "/none"}
    with open(folder + "/output", "wb") as output:
        server = subprocess.Popen([SERVER], env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    address = "amqp://guest:guest@127.0.0.1:%d" % port
    try:
        wait_for_broker(server, address, folder + "/output")
        yield address
    finally:
        server.terminate()
        server.wait(60)
        subprocess.run(["epmd", "-port", str(epmd), "-kill"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       check=False)


def wait_for_broker(server, address, output):
    end = time.monotonic() + 120
    while time.monotonic() < end and server.poll() is None:
        try:
            pika.BlockingConnection(pika.URLParameters(address)).close()
            return
        except (pika.exceptions.AMQPError, OSError):
            time.sleep(0.2)
    sys.exit("RabbitMQ does not start: " + pathlib.Path(output).read_text()[-2000:])


class Actor:
    """A runtime with two workers, and two sidecars, as two pods would be that share a queue."""

    def __init__(self, queue, folder, address):
        self.queue, self.module = queue, ACTORS[queue]
        self.path = "%s/%s.sock" % (folder, self.module)
        self.log = open("%s/%s.log" % (folder, self.module), "ab")  # noqa: SIM115
        self.kills = 0
        self.start()
        command = [sys.executable, str(HERE / "sidecar.py"), "--queue", queue, "--socket", self.path, "--amqp", address,
                   "--sink", SINK, "--sump", SUMP]
        self.sidecars = [subprocess.Popen(command) for _ in range(2)]

    def start(self):
        environment = {**os.environ, "PYTHONPATH": str(HERE), "ASYA_PROCESS_MODULE": self.module,
                       "ASYA_SOCKET_PATH": self.path, "ASYA_WORKERS": "2", "ASYA_LOG_LEVEL": "WARNING"}
        self.runtime = subprocess.Popen([sys.executable, str(RUNTIME)], env=environment, stderr=self.log)

    def restart(self, number):
        self.runtime.send_signal(number)
        self.runtime.wait(60)
        self.start()

    def kill_worker(self):
        """Kill a child of the supervisor's with SIGKILL. Not at the start: a runtime whose first load fails ends."""
        pid = self.runtime.pid
        if not os.path.exists(self.path):
            return
        try:
            workers = pathlib.Path("/proc/%d/task/%d/children" % (pid, pid)).read_text().split()
            os.kill(int(random.choice(workers)), signal.SIGKILL)
            self.kills += 1
        except (OSError, IndexError):
            pass  # it is just starting

    def stop(self):
        for sidecar in self.sidecars:
            sidecar.terminate()
        self.runtime.terminate()
        codes = [process.wait(60) for process in [*self.sidecars, self.runtime]]
        self.log.close()
        if codes != [0, 0, 0]:
            print("%s: exit statuses of the sidecars and the runtime: %s" % (self.module, codes))
        return codes == [0, 0, 0]


def make_messages(count):
    for number in range(count):
        text = "" if number % EMPTY_EACH == 7 else "one ? three" if number % ODD_EACH == 11 else "one two three"
        yield {"id": str(number), "payload": {"number": number, "text": text},
               "route": {"prev": [], "curr": "demo-split", "next": ["demo-measure"]}}


def expected_of(count):
    """(parts in the sink, messages and parts in the sump)"""
    good, bad = set(), set()
    for message in make_messages(count):
        words = message["payload"]["text"].split()
        if not words:
            bad.add(message["id"])
        for place, word in enumerate(words):
            (bad if word == "?" else good).add("%s.%d" % (message["id"], place))
    return good, bad


def depth(channel, *queues):
    return sum(channel.queue_declare(queue).method.message_count for queue in queues)


def trouble(actors, channel, wanted, each):
    """Kill and restart until all has arrived: a worker after about `each` arrivals, so that a slow machine gets on, too."""
    begin, last, seen, kill_at = time.monotonic(), time.monotonic(), 0, each
    plans = [(wanted // 4, "demo-measure", signal.SIGKILL), (wanted // 2, "demo-split", signal.SIGTERM)]
    while seen < wanted and time.monotonic() < last + 60:
        time.sleep(0.02)
        now = depth(channel, SINK, SUMP)
        last, seen = time.monotonic() if now > seen else last, now
        if plans and seen > plans[0][0]:
            _, queue, number = plans.pop(0)
            print("%5d of %d arrived: %s for the runtime of %s, and a new one" %
                  (seen, wanted, signal.Signals(number).name, queue), flush=True)
            actors[queue].restart(number)
        if seen >= kill_at:
            random.choice(list(actors.values())).kill_worker()
            kill_at = seen + random.randint(1, 2 * each)
    return time.monotonic() - begin


def drain(channel, queue):
    """How often each identifier is in the queue."""
    found = collections.Counter()
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return found
        found[json.loads(body)["id"]] += 1


def judge(found, expected, what):
    lost = len(expected - set(found))
    twice = sum(count - 1 for count in found.values())
    strange = len(set(found) - expected)
    print("%-8s %5d arrived, %d lost, %d twice, %d that do not belong there" %
          (what, sum(found.values()), lost, twice, strange))
    return lost + twice + strange == 0


def run(address, folder, count, each):
    channel = pika.BlockingConnection(pika.URLParameters(address)).channel()
    for queue in [*ACTORS, SINK, SUMP]:
        channel.queue_delete(queue)
        channel.queue_declare(queue)
    good, bad = expected_of(count)
    for message in make_messages(count):
        channel.basic_publish("", "demo-split", json.dumps(message).encode())
    print("%d messages published: %d parts and %d errors are to come" % (count, len(good), len(bad)), flush=True)
    actors = {queue: Actor(queue, folder, address) for queue in ACTORS}
    seconds = trouble(actors, channel, len(good) + len(bad), each)
    stopped = [actor.stop() for actor in actors.values()]
    time.sleep(0.2)
    print("%.1f s, %d workers killed, 2 runtimes restarted" % (seconds, sum(actor.kills for actor in actors.values())))
    right = [judge(drain(channel, SINK), good, "results:"), judge(drain(channel, SUMP), bad, "errors:")]
    left = depth(channel, *ACTORS)
    print("left in the actors' queues: %d" % left)
    return 0 if all(right) and all(stopped) and left == 0 else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--each", type=int, default=50, help="kill a worker after about so many arrivals (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(31))
    parser.add_argument("--amqp", help="a broker that is there, as amqp://user:password@host:port")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    print("seed %d" % arguments.seed, flush=True)
    folder = tempfile.mkdtemp(prefix="asya-pipeline-")
    with broker(folder) if arguments.amqp is None else contextlib.nullcontext(arguments.amqp) as address:
        code = run(address, folder, arguments.messages, arguments.each)
    if code == 0:
        shutil.rmtree(folder)
    else:
        print("the logs are in " + folder)
    return code


if __name__ == "__main__":
    sys.exit(main())
