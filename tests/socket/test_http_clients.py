"""HTTP clients as people use them: Python's http.client, curl and Node's http, over the Unix socket."""
import http.client
import json
import os
import re
import shutil
import subprocess

import pytest

from harness import shims
from harness.protocols import HttpConnection, Stream, hops

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


@pytest.fixture(scope="module")
def serving(runtime):
    with runtime("counting:count", allow_log=["ERROR", "WARNING", "Traceback", "  "]) as server:
        yield server


@pytest.fixture
def cutting(runtime, tmp_path):
    """Its worker is killed when the third event of a stream, a long one, is out in part."""
    moments = shims.Moments(tmp_path / "moments")
    with runtime("counting:count", env=moments.env, allow_log=["ERROR", "WARNING"]) as server:
        moments.stop_at(shims.BEHIND_SEND, 4)
        moments.kill_behind()
        yield server


CUT = {"count": 3, "last": 1 << 22}


def names(text):
    return [name for name, _ in parse_events(text)]


def frames(events):
    """The payloads downstream, after checking the end: `done` and nothing behind it."""
    assert events[-1] == ("done", {}), events
    assert [name for name, _ in events[:-1]] == ["downstream"] * (len(events) - 1)
    return [data["payload"] for _, data in events[:-1]]


def parse_events(text):
    """Server-sent events as (name, parsed data)."""
    assert text.endswith("\n\n"), text
    events = []
    for block in text[:-2].split("\n\n"):
        name, data = block.split("\n")
        assert name.startswith("event: ") and data.startswith("data: "), block
        events.append((name[7:], json.loads(data[6:])))
    return events


# -- Python ---------------------------------------------------------------------------------------------------------------


def test_http_client_keeps_its_connection_and_sends_chunks(serving):
    connection = HttpConnection(serving.path)
    connection.connect()
    first = connection.sock
    for number in range(20):
        body = json.dumps(hops({"echo": "x" * 50_000})).encode()
        if number % 2:
            connection.request("POST", "/invoke", (body[at:at + 999] for at in range(0, len(body), 999)),
                               {"Transfer-Encoding": "chunked"}, encode_chunked=True)
        else:
            connection.request("POST", "/invoke", body)
        response = connection.getresponse()
        assert response.status == 200
        assert json.loads(response.read())["frames"][0]["payload"] == {"echo": "x" * 50_000}
        assert connection.sock is first
    connection.close()


def test_http_client_reads_a_stream(serving):
    with Stream(serving.path, hops({"count": 100})) as stream:
        assert stream.response.status == 200
        assert stream.response.getheader("Content-Type") == "text/event-stream"
        assert stream.response.getheader("Cache-Control") == "no-cache"
        assert frames(list(stream)) == [{"n": n} for n in range(100)]


def test_http_client_has_an_error_for_a_stream_that_was_cut(cutting):
    with Stream(cutting.path, hops(CUT)) as stream:
        with pytest.raises(http.client.IncompleteRead):
            stream.response.read()


DIED = ["downstream"] * 3 + ["error", "done"]


def test_http_client_reads_that_the_worker_died(serving):
    with Stream(serving.path, hops({"count": 3, "die": True})) as stream:
        events = list(stream)
        assert [name for name, _ in events] == DIED and events[3][1]["details"]["type"] == "WorkerCrashed"


# -- curl -----------------------------------------------------------------------------------------------------------------


def curl(path, *arguments, data=None):
    command = ["curl", "--silent", "--show-error", "--max-time", "20", "--unix-socket", path, *arguments]
    return subprocess.run(command, input=data, capture_output=True, timeout=30, check=False)


@needs_curl
def test_curl_sends_a_message(serving):
    done = curl(serving.path, "--data-binary", "@-", "--write-out", "\n%{http_code}", "http://localhost/invoke",
                data=json.dumps(hops({"echo": 1})).encode())
    body, _, status = done.stdout.decode().rpartition("\n")
    assert (done.returncode, status) == (0, "200"), done
    assert json.loads(body)["frames"][0]["payload"] == {"echo": 1}


@needs_curl
def test_curl_keeps_its_connection(serving):
    url = "http://localhost/healthz"
    done = curl(serving.path, "--verbose", url, url, url)
    assert done.returncode == 0 and done.stdout == b'{"status":"ready"}' * 3
    assert len(re.findall(rb"Re-?using existing .*connection", done.stderr, re.IGNORECASE)) == 2, done.stderr


@needs_curl
def test_curl_waits_for_100_continue(serving, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(json.dumps(hops({"echo": "x" * 2_000_000})).encode())
    done = curl(serving.path, "--verbose", "--header", "Expect: 100-continue", "--expect100-timeout", "15",
                "--data-binary", "@%s" % body, "http://localhost/invoke")
    assert done.returncode == 0 and len(done.stdout) > 2_000_000
    assert b"HTTP/1.1 100 Continue" in done.stderr
    assert b"Done waiting for 100-continue" not in done.stderr


@needs_curl
def test_curl_sends_chunks(serving):
    done = curl(serving.path, "--header", "Transfer-Encoding: chunked", "--header", "Expect:", "--request", "POST",
                "--upload-file", "-", "http://localhost/invoke", data=json.dumps(hops({"echo": "y" * 300_000})).encode())
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["frames"][0]["payload"] == {"echo": "y" * 300_000}


@needs_curl
@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
def test_curl_reads_a_stream(serving, version):
    done = curl(serving.path, "--no-buffer", version, "--data-binary", "@-", "http://localhost/invoke",
                data=json.dumps(hops({"count": 50})).encode())
    assert done.returncode == 0, done
    assert frames(parse_events(done.stdout.decode())) == [{"n": n} for n in range(50)]


@needs_curl
def test_curl_has_an_error_for_a_stream_that_was_cut(cutting):
    done = curl(cutting.path, "--no-buffer", "--data-binary", "@-", "http://localhost/invoke", data=json.dumps(hops(CUT)).encode())
    assert done.returncode == 18, done.stderr  # a partial transfer
    assert done.stdout.count(b"event: downstream") == 3


@needs_curl
def test_curl_reads_that_the_worker_died(serving):
    done = curl(serving.path, "--no-buffer", "--data-binary", "@-", "http://localhost/invoke",
                data=json.dumps(hops({"count": 3, "die": True})).encode())
    assert (done.returncode, names(done.stdout.decode())) == (0, DIED)


@needs_curl
def test_curl_gets_its_error_while_it_still_writes(serving, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(b"1" * 30_000_000)
    done = curl(serving.path, "--write-out", "\n%{http_code}", "--header", "Expect:", "--data-binary", "@%s" % body,
                "http://localhost/invoke")
    assert done.stdout.decode().rpartition("\n")[2] == "413", done


# -- Node -----------------------------------------------------------------------------------------------------------------

NODE = """
const http = require("http");
const [socketPath, what] = process.argv.slice(2);
const agent = new http.Agent({keepAlive: true, maxSockets: 1});
const sockets = new Set();

function call(body, options = {}, pieces = 1) {
  return new Promise((resolve, reject) => {
    const request = http.request({socketPath, agent, path: "/invoke", method: "POST", ...options}, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("aborted", () => resolve({aborted: true, text: Buffer.concat(parts).toString()}));
      response.on("error", () => {});
      response.on("end", () => {
        if (response.complete) resolve({status: response.statusCode, text: Buffer.concat(parts).toString()});
      });
    });
    request.on("socket", (socket) => sockets.add(socket));
    request.on("error", reject);
    const send = () => {
      for (let i = 0; i < pieces; i++) {
        request.write(body.slice(Math.floor(i * body.length / pieces), Math.floor((i + 1) * body.length / pieces)));
      }
      request.end();
    };
    if ((options.headers || {}).Expect) request.on("continue", send); else send();
  });
}

const message = (payload) =>
  Buffer.from(JSON.stringify({id: "m", route: {prev: [], curr: "a", next: []}, payload}));

async function main() {
  const replies = [];
  if (what === "keep-alive") {
    for (let i = 0; i < 20; i++) {
      const body = message({echo: i});
      replies.push(await call(body, {headers: {"Content-Length": body.length}}));
    }
  } else if (what === "chunks") {
    replies.push(await call(message({echo: "x".repeat(300000)}), {}, 50));
  } else if (what === "continue") {
    const body = message({echo: 1});
    replies.push(await call(body, {headers: {"Content-Length": body.length, Expect: "100-continue"}}));
  } else if (what === "stream") {
    replies.push(await call(message({count: 50})));
  } else if (what === "die") {
    replies.push(await call(message({count: 3, die: true})));
  } else {
    replies.push(await call(message({count: 3, last: 1 << 22})));
  }
  console.log(JSON.stringify({replies, sockets: sockets.size}));
  agent.destroy();
}
main().catch((error) => { console.error(error); process.exit(1); });
"""


def node(path, what, folder):
    script = folder / "client.js"
    script.write_text(NODE, encoding="utf-8")
    done = subprocess.run(["node", str(script), path, what], capture_output=True, timeout=60, check=False,
                          env={"PATH": os.environ["PATH"], "HOME": str(folder)})
    assert done.returncode == 0, done
    result = json.loads(done.stdout)
    return result["replies"], result["sockets"]


@needs_node
def test_node_keeps_its_connection(serving, tmp_path):
    replies, sockets = node(serving.path, "keep-alive", tmp_path)
    assert [json.loads(reply["text"])["frames"][0]["payload"]["echo"] for reply in replies] == list(range(20))
    assert sockets == 1


@needs_node
@pytest.mark.parametrize("what, echo", [("chunks", "x" * 300_000), ("continue", 1)])
def test_node_sends_chunks_and_waits_for_100_continue(serving, tmp_path, what, echo):
    [reply], _ = node(serving.path, what, tmp_path)
    assert reply["status"] == 200 and json.loads(reply["text"])["frames"][0]["payload"] == {"echo": echo}


@needs_node
def test_node_reads_a_stream(serving, tmp_path):
    [reply], _ = node(serving.path, "stream", tmp_path)
    assert reply["status"] == 200
    assert frames(parse_events(reply["text"])) == [{"n": n} for n in range(50)]


@needs_node
def test_node_has_an_error_for_a_stream_that_was_cut(cutting, tmp_path):
    [reply], _ = node(cutting.path, "cut", tmp_path)
    assert reply.get("aborted") is True
    assert reply["text"].count("event: downstream") == 3


@needs_node
def test_node_reads_that_the_worker_died(serving, tmp_path):
    [reply], _ = node(serving.path, "die", tmp_path)
    assert (reply["status"], names(reply["text"])) == (200, DIED)
