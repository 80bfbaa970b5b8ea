"""The same functions for each of the servers that bench/report.py compares the runtime with.

Each reads and writes JSON by orjson, as its documentation advises where speed counts. `wsgi` is for gunicorn, uWSGI and
granian, `asgi` for uvicorn and granian, `fastapi` for FastAPI; mosec and LitServe have programs of their own. Which of the
functions they serve says BENCH_FUNCTION. The runtime is given its function by name.
"""
import asyncio
import os
import time

import orjson


def echo(payload):
    return payload


def wish_of(payload):
    """A peer gets the whole message, the runtime its payload."""
    return payload.get("payload", payload)


def patient(payload):
    """Waits as long as it is told, and says which process it is."""
    wait = wish_of(payload)["wait"]
    if wait:
        time.sleep(wait)
    return {"pid": os.getpid()}


async def patient_async(payload):
    wait = wish_of(payload)["wait"]
    if wait:
        await asyncio.sleep(wait)
    return {"pid": os.getpid()}


def events(payload):
    """As many as it is told. For the runtime: it makes an event of each."""
    for number in range(payload["events"]):
        yield {"number": number}


FUNCTIONS = {"echo": echo, "patient": patient, "events": echo}
process = FUNCTIONS[os.environ.get("BENCH_FUNCTION", "echo")]
IS_PATIENT = process is patient
ROUTE = {"prev": ["embed"], "curr": "", "next": []}


def event(number):
    """The same bytes as the runtime's."""
    return b"event: downstream\ndata: %b\n\n" % orjson.dumps({"payload": {"number": number}, "route": ROUTE})


def wsgi(environ, start_response):
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    reply = orjson.dumps(process(orjson.loads(body)))
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(reply)))])
    return [reply]


def wsgi_events(environ, start_response):
    wish = orjson.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))["payload"]
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    return map(event, range(wish["events"]))


async def read_body(receive):
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    payload = orjson.loads(await read_body(receive))
    reply = orjson.dumps(await patient_async(payload) if IS_PATIENT else process(payload))
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(reply))]})
    await send({"type": "http.response.body", "body": reply})


async def asgi_events(scope, receive, send):
    if scope["type"] != "http":
        return
    wish = orjson.loads(await read_body(receive))["payload"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for number in range(wish["events"]):
        await send({"type": "http.response.body", "body": event(number), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def __getattr__(name):
    """FastAPI is imported only where it is served."""
    if name != "fastapi":
        raise AttributeError(name)
    from fastapi import FastAPI, Request, Response

    app = FastAPI()

    @app.post("/invoke")
    async def invoke(request: Request):
        payload = orjson.loads(await request.body())
        reply = await patient_async(payload) if IS_PATIENT else process(payload)
        return Response(orjson.dumps(reply), media_type="application/json")

    return app
