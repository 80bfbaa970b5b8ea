"""The same function, an echo of JSON, for each of the servers that bench/report.py compares the runtime with.

Each reads and writes JSON by orjson, as its documentation advises where speed counts. `wsgi` is for gunicorn, uWSGI and
granian, `asgi` for uvicorn and granian, `fastapi` for FastAPI; mosec and LitServe have programs of their own.
"""
import orjson


def process(payload):
    return payload


def wsgi(environ, start_response):
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    reply = orjson.dumps(process(orjson.loads(body)))
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(reply)))])
    return [reply]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    parts = []
    more = True
    while more:
        event = await receive()
        parts.append(event.get("body", b""))
        more = event.get("more_body", False)
    reply = orjson.dumps(process(orjson.loads(b"".join(parts))))
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(reply))]})
    await send({"type": "http.response.body", "body": reply})


def __getattr__(name):
    """FastAPI is imported only where it is served."""
    if name != "fastapi":
        raise AttributeError(name)
    from fastapi import FastAPI, Request, Response

    app = FastAPI()

    @app.post("/invoke")
    async def invoke(request: Request):
        return Response(orjson.dumps(process(orjson.loads(await request.body()))), media_type="application/json")

    return app
