"""LitServe with the function of apps.py: its worker processes and one for HTTP, its default. Takes the port."""
import os
import sys

import litserve

from apps import process


class Function(litserve.LitAPI):
    def setup(self, device):
        pass

    def decode_request(self, request):
        return request

    def predict(self, inputs):
        return process(inputs)

    def encode_response(self, output):
        return output


if __name__ == "__main__":
    api = Function(api_path="/invoke")
    litserve.LitServer(api, accelerator="cpu", workers_per_device=int(os.environ["BENCH_WORKERS"])).run(
        port=int(sys.argv[1]), host="127.0.0.1", num_api_servers=1, log_level="error", generate_client_file=False)
