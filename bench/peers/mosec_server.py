"""mosec with the function of apps.py. Its options come from the command line (--port, --timeout)."""
import os

import orjson
from mosec import Server, Worker

from apps import process


class Function(Worker):
    def deserialize(self, data):
        return orjson.loads(data)

    def serialize(self, data):
        return orjson.dumps(data)

    def forward(self, data):
        return process(data)


if __name__ == "__main__":
    server = Server()
    server.append_worker(Function, num=int(os.environ["BENCH_WORKERS"]), route="/invoke")
    server.run()
