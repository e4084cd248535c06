"""`circusctl reloadconfig` changes what differs in circus.ini, and nothing else."""

import os
import signal
from pathlib import Path

from hub.base.exits import Exit
from hub.testing.waiting import WAIT_SECONDS
from tests.harness.hub_process import (
    QUIET,
    MakeHub,
    ignoring_sigterm,
    is_alive,
    wait_ignoring_sigterm,
    watcher,
)


def test_reloadconfig_touches_what_changed(make_hub: MakeHub) -> None:
    """One plugin is added, one removed, one changed; the others keep running, at this reload and every later one."""
    hub = make_hub(watcher("same") + watcher("gone") + watcher("other") + "[env:same]\nA = 1\n").start()
    hub.wait_plugins("same", "gone", "other")
    same, gone, other = (hub.plugin_pid(name) for name in ("same", "gone", "other"))
    changed = watcher("other", QUIET + "priority = 1")
    hub.config.write_text(watcher("new") + watcher("same") + changed + "[env:same]\nA = 1\n")
    assert hub.ask("reloadconfig", "--waiting") == "ok"
    loaded = hub.wait_event("configuration loaded")
    assert (loaded["added"], loaded["removed"], loaded["changed"]) == (["new"], ["gone"], ["other"])
    assert not is_alive(gone)
    assert not is_alive(other)
    assert hub.ask("status") == "new: active\nother: active\nsame: active"
    for _ in range(2):
        assert hub.ask("reloadconfig", "--waiting") == "ok"
    assert hub.plugin_pid("same") == same
    assert is_alive(same)
    assert len(hub.events("plugin started")) == 5


def test_reloadconfig_after_a_change_of_includes(make_hub: MakeHub, directory: Path) -> None:
    """A change in [circus] does not restart everything, as it does in circus at this and every later reload."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    (directory / "more").mkdir()
    (directory / "more" / "b.ini").write_text(watcher("b"))
    hub.config.write_text(watcher("a") + "[circus]\ninclude_dir = more\n")
    for _ in range(2):
        assert hub.ask("reloadconfig", "--waiting") == "ok"
    assert hub.ask("status") == "a: active\nb: active"
    assert len(hub.events("plugin started")) == 2


def test_reloadconfig_of_a_bad_file_changes_nothing(make_hub: MakeHub) -> None:
    """A mistake is reported to the administrator and in the log, and all plugins keep running."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    hub.config.write_text(watcher("b") + watcher("a", QUIET + "gracefull_timeout = 1"))
    refused = hub.ctl("reloadconfig")
    assert refused.returncode != 0
    assert "[watcher:a] gracefull_timeout" in refused.stderr
    assert "[watcher:a] gracefull_timeout" in hub.wait_event("configuration rejected")["error"]
    assert hub.ask("status") == "a: active"
    assert len(hub.events("plugin started")) == 1


def test_reloadconfig_leaves_a_stopped_plugin_stopped(make_hub: MakeHub) -> None:
    """A plugin that an administrator stopped and that did not change stays stopped."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    assert hub.ask("stop", "a", "--waiting") == "ok"
    hub.config.write_text(watcher("a") + watcher("b"))
    assert hub.ask("reloadconfig", "--waiting") == "ok"
    assert hub.ask("status") == "a: stopped\nb: active"


def test_plugins_of_a_reload_are_supervised(make_hub: MakeHub) -> None:
    """A plugin that a reload has added is restarted, with back-off, like any other."""
    hub = make_hub(watcher("a")).start()
    hub.wait_plugins("a")
    hub.config.write_text(watcher("a") + watcher("b", "cmd = false"))
    assert hub.ask("reloadconfig") == "ok"
    assert hub.wait_event("plugin exited", plugin="b", count=3)["restart_in_seconds"] == 2


def test_sigterm_in_the_middle_of_a_reload(make_hub: MakeHub, directory: Path) -> None:
    """A hub that is stopped while a reload waits for a plugin starts nothing more and leaves nothing behind."""
    # The reload waits for longer than the test, which kills the plugin itself.
    hub = make_hub(watcher("a", ignoring_sigterm(directory, grace=2 * WAIT_SECONDS))).start()
    wait_ignoring_sigterm(hub)
    hub.config.write_text(watcher("b"))
    assert hub.ask("reloadconfig") == "ok"
    os.kill(hub.pid, signal.SIGTERM)
    hub.wait_event("hub stopping")
    os.killpg(hub.plugin_pid("a"), signal.SIGKILL)
    assert hub.wait_for_exit() == Exit.OK
    assert not is_alive(hub.plugin_pid("a"))
    assert not hub.events("plugin started", plugin="b")
    assert "Traceback" not in hub.text()
