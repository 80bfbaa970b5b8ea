"""GET /: the page for a browser. What it is made of, and what a headless Chromium shows of it."""
import base64
import contextlib
import hashlib
import os
import re
import signal
import threading

from harness import browser, control, processes

NOISE = ["(ERROR|WARNING) .*"]


@contextlib.contextmanager
def shown(runtime, handler="snippets:run", **options):
    """A runtime and its page."""
    port = control.free_port()
    env = {"ASYA_HTTP_ADDR": "127.0.0.1:%d" % port, "ASYA_WORKERS": "2"}
    with runtime(handler, env=env, allow_log=NOISE, **options) as server, browser.opened("http://127.0.0.1:%d/" % port) as page:
        assert page.becomes("document.title == 'ready, asya-runtime'"), page.faults
        yield server, page


def test_it_is_one_file_that_may_reach_nothing_but_its_own_server(runtime):
    port = control.free_port()
    with runtime("snippets:run", env={"ASYA_HTTP_ADDR": "127.0.0.1:%d" % port}) as server:
        for where in (port, server.control_path):
            answer = control.ask(where, "/")
            assert answer.status == 200 and answer.headers["Content-Type"] == "text/html"
            assert int(answer.headers["Content-Length"]) == len(answer.text)
            [script] = re.findall("<script>(.*?)</script>", answer.text, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
            policy = answer.headers["Content-Security-Policy"].split(";")
            assert policy == ["default-src 'none'", "connect-src 'self'", "script-src 'sha256-%s'" % digest, "style-src 'unsafe-inline'"]
            assert re.findall(r"https?://[^\"]*", answer.text) == ["http://www.w3.org/2000/svg"], "a name, not an address"
            assert not re.search(r"\b(src|href|url)\b *[=(]|innerHTML|eval", answer.text)
        assert control.ask(port, "/", "HEAD").text == ""
        assert control.ask(port, "/", "POST").status in (404, 405)


def test_it_shows_what_top_shows(runtime):
    with shown(runtime) as (server, page):
        for code in ('"return 1"', '"raise ValueError(\'<img src=x onerror=document.title=1>\')"', '"import os; os._exit(3)"'):
            server.call(code.encode())
        running = threading.Thread(target=server.call, args=[b'"import time; time.sleep(15)"'])
        running.start()
        text = "document.body.innerText"
        for part in ("snippets:run", "ready since ", "Python ", " requests", "requests/s", "p99", "memory",
                     "validation_error", "<img src=x onerror=document.title=1>", "WorkerExited", "1 exit", "function", "idle", "busy"):
            assert page.becomes("%s.includes(%r)" % (text, part)), (part, page.run(text))
        assert page.becomes("[...document.querySelectorAll('polyline')].every(line => line.points.length > 2)")
        assert page.run("document.querySelectorAll('figure').length") == 6
        assert "most" in page.run("document.querySelector('svg').getAttribute('aria-label')")
        processes.eventually(lambda: page.run("parseFloat(document.querySelectorAll('big')[4].textContent)") == 1)
        assert page.faults == []
        running.join()


def test_rates_and_latencies_are_those_of_the_metrics(runtime):
    with shown(runtime) as (server, page):
        stop = threading.Event()

        def ask():
            while not stop.is_set():
                server.call(b'"import time; time.sleep(0.02)"')

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            assert page.becomes("(n => n > 1 && n < 60)(parseFloat(document.querySelectorAll('big')[0].textContent))")
            assert page.becomes("(n => n >= 10 && n < 1000)(parseFloat(document.querySelectorAll('big')[2].textContent))")
        finally:
            stop.set()
            asking.join()
        assert page.becomes("document.querySelectorAll('big')[0].textContent == '0'")


def test_it_obeys_the_keyboard_and_says_when_nobody_answers(runtime):
    with shown(runtime) as (server, page):
        page.press("Tab", 9)
        assert page.run("document.activeElement.tagName") == "BUTTON"
        page.press(" ", 32)
        assert page.run("document.activeElement.getAttribute('aria-pressed')") == "true"
        drawn = "document.querySelector('polyline').getAttribute('points')"
        before = page.run("new Promise(done => setTimeout(() => done(%s), 1500))" % drawn)
        assert page.run("new Promise(done => setTimeout(() => done(%s), 2500))" % drawn) == before, "it pauses"
        page.press(" ", 32)
        assert page.becomes("%s != %r" % (drawn, before))
        for place in ("Workers", "Running requests", "Last errors"):
            page.press("Tab", 9)
            assert page.run("document.activeElement.ariaLabel") == place, "what is too wide can be scrolled"
        os.kill(server.pid, signal.SIGSTOP)
        try:
            assert page.becomes("document.querySelector('b').textContent == 'no answer'")
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert page.becomes("document.querySelector('b').textContent == 'ready'")


def test_it_is_readable_in_light_and_dark_narrow_and_wide(runtime):
    with shown(runtime) as (server, page):
        server.call(b'"raise ValueError(\'a long text \' * 20 + \'x\' * 200)"')
        assert page.becomes("document.body.innerText.includes('a long text')")
        colours = {}
        for scheme in ("light", "dark"):
            page.prefer(scheme)
            for width in (320, 1400):
                page.size(width, 900)
                assert page.run("document.documentElement.scrollWidth") <= width, "no sideways scrolling of the page"
                script = "['background-color', 'color'].map(name => getComputedStyle(document.body).getPropertyValue(name).match(/\\d+/g))"
                colours[scheme] = [sum(map(int, found)) for found in page.run(script)]
        light, dark = colours["light"], colours["dark"]
        assert light[0] - light[1] > 450 and dark[1] - dark[0] > 450, colours
