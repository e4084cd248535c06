"""What happens when a thread of a process fails."""

import threading

from structlog.testing import capture_logs

from hub import SupervisedThread
from hub.testing.waiting import WAIT_SECONDS


def test_a_thread_that_fails() -> None:
    """Its function is called again, whatever it raised; the failure is reported, and logged once."""
    calls: list[str] = []
    works = threading.Event()

    def work() -> None:
        calls.append(thread.failure)
        match len(calls):
            case 1 | 2:
                raise SystemExit("no idea")
            case 3:
                return
        works.set()
        threading.Event().wait()

    with capture_logs() as lines:
        thread = SupervisedThread("driver", work, retry=0)
        assert not thread.is_started
        thread.start()
        thread.start()
        assert works.wait(WAIT_SECONDS)
    assert thread.is_started
    assert calls == ["", "SystemExit: no idea", "SystemExit: no idea", "it returned unexpectedly"]
    assert [(line["event"], line["thread"], line.get("reason", "")) for line in lines] == [
        ("thread failed", "driver", "SystemExit: no idea"),
        ("thread restarted", "driver", ""),
        ("thread failed", "driver", "it returned unexpectedly"),
        ("thread restarted", "driver", ""),
    ]
