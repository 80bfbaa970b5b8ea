"""Ask many services at once: an async function, on one event loop that lives as long as the worker.

    ASYA_CONCURRENCY=100 ASYA_PROCESS_MODULE=gather:fetch python3 asya_runtime.py

Send {"urls": ["http://127.0.0.1:8000/a", "http://127.0.0.1:8000/b"]} and get one object a URL, in their order. With
ASYA_CONCURRENCY the next message is begun while this one waits. A real service would use an HTTP client of its own and keep
it between messages; this one needs nothing but Python.
"""

import asyncio
import urllib.parse

TIMEOUT = 5.0  # seconds for one answer
AT_ONCE = 20  # connections for one message
LIMIT = 1 << 20  # bytes of one answer


async def ask(url: str, slots: asyncio.Semaphore) -> dict:
    """One GET by HTTP/1.0: the answer ends when the server closes."""
    parts = urllib.parse.urlsplit(url)
    async with slots:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
        try:
            target = parts.path or "/"
            writer.write(f"GET {target} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode("ascii"))
            answer = await read_all(reader)
        finally:
            writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return {"url": url, "status": int(head.split(None, 2)[1]), "body": body.decode("utf-8", "replace")}


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """Everything until the end, at most LIMIT bytes."""
    parts, size = [], 0
    while True:
        part = await reader.read(1 << 16)
        if not part:
            return b"".join(parts)
        size += len(part)
        if size > LIMIT:
            raise RuntimeError(f"the answer is longer than {LIMIT} bytes")
        parts.append(part)


async def ask_safely(url: str, slots: asyncio.Semaphore) -> dict:
    """One that cannot be reached must not fail the others."""
    try:
        return await asyncio.wait_for(ask(url, slots), TIMEOUT)
    except (OSError, ValueError, IndexError, RuntimeError, asyncio.TimeoutError) as error:
        return {"url": url, "error": f"{type(error).__name__}: {error}"}


async def fetch(payload: dict) -> list:
    """Fetch all URLs, at most AT_ONCE at a time."""
    urls = payload.get("urls")
    if not isinstance(urls, list) or not all(isinstance(url, str) and url.startswith("http://") for url in urls):
        raise ValueError("urls must be a list of http:// addresses")
    slots = asyncio.Semaphore(AT_ONCE)
    return await asyncio.gather(*(ask_safely(url, slots) for url in urls))
