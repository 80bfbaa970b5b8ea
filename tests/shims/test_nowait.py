"""Where the flag that says not to wait is taken and not obeyed, nobody waits for a log that nobody reads."""
import os

from harness import shims

LONG = "raise RuntimeError('x' * 3000)"


def test_a_log_that_nobody_reads_holds_nobody_up(runtime):
    reader, end = os.pipe()
    try:
        with runtime("snippets:run", env={"ASYA_WORKERS": 2, **shims.preloaded("nowait")}, stderr=end) as server:
            for _ in range(60):
                assert server.call(LONG)["error"] == "processing_error"
            assert server.result("return 1") == 1
            for pid in server.worker_pids():
                os.kill(pid, 9)
            assert server.result("return 2") == 2
        os.set_blocking(reader, False)
        assert b"RuntimeError: xxx" in os.read(reader, 1 << 20)
    finally:
        os.close(reader)
        os.close(end)
