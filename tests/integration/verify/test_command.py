"""`dphub verify` on plugins in processes of their own."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

from hub.base.exits import Exit
from hub.base.interpreter import own_python
from hub.testing.conformance import RULES
from hub.testing.node import CommandResult
from hub.testing.waiting import WAIT_SECONDS, wait_until
from tests.harness.processes import ended, marked, started
from tests.harness.project import PROJECT
from tests.integration.verify.model import ModelPlugin

PLUGIN = (sys.executable, "-m", "tests.integration.verify.process", "{plugin_dir}")
PATIENT = ("--slow", "20")


async def _verify(*words: str | Path) -> CommandResult:
    pipe = asyncio.subprocess.PIPE
    command = own_python("hub", "verify", *map(str, words))
    environment = {**os.environ, "COLUMNS": "1000"}
    async with started(*command, cwd=PROJECT, env=environment, stdout=pipe, stderr=pipe) as process:
        out, err = await process.communicate()
        return CommandResult(await ended(process), out.decode(), err.decode())


def _names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def test_a_plugin_that_follows_the_rules(directory: Path) -> None:
    """The output has a line for each rule, and so does the file for CI."""
    rules = ("--rule", "ids-unique", "--rule", "registers")
    done = await _verify(*PATIENT, *rules, "--junit", directory / "junit.xml", "--", *PLUGIN)
    assert (done.code, done.err) == (Exit.OK, ""), done
    assert done.out.splitlines() == [
        "passed   must    registers",
        "passed   must    ids-unique",
        "example.com/stub: 2 rules: 2 passed, 0 failed, 0 skipped",
    ]
    suite = ET.fromstring((directory / "junit.xml").read_bytes())  # noqa: S314 - as above
    assert [case.get("name") for case in suite] == ["registers", "ids-unique"]


async def test_a_pipe_in_place_of_the_output() -> None:
    """The plugin shares {kubelet_dir} with the check, but no file that it leaves there makes the check wait."""
    words = ("sh", "-c", "rm -f {kubelet_dir}/output; mkfifo {kubelet_dir}/output; echo its last words; exit 1")
    done = await _verify("--rule", "registers", "--", *words)
    assert done.code == Exit.FAILED, done
    assert "it exited with code 1; its last output: its last words" in done.out


async def test_a_broken_rule_decides_the_exit_code() -> None:
    """The code is an error if the rule is mandatory; programs get the result as JSON."""
    done = await _verify(*PATIENT, "--rule", "health-words", "--json", "--", *PLUGIN, "health-words")
    assert (done.code, done.err) == (Exit.FAILED, ""), done
    (result,) = json.loads(done.out)["results"]
    assert (result["outcome"], result["findings"]) == ("failed", ["device 'd1' has health 'healthy'"])
    done = await _verify(*PATIENT, "--rule", "ids-short", "--", *PLUGIN, "ids-short")
    assert (done.code, done.err) == (Exit.OK, ""), done
    assert "docs/verify.md#ids-short" in done.out


async def test_a_rule_is_left_out() -> None:
    """The others are checked, and the exit code depends on them only."""
    rules = ("--rule", "health-words", "--rule", "ids-unique", "--skip", "health-words")
    done = await _verify(*PATIENT, *rules, "--", *PLUGIN, "health-words")
    assert (done.code, done.err) == (Exit.OK, ""), done
    assert done.out.splitlines()[-1] == "example.com/stub: 1 rule: 1 passed, 0 failed, 0 skipped"


async def test_a_plugin_in_a_directory(directory: Path) -> None:
    """Another program starts the plugin, with the same directory; nothing outside that directory is changed."""
    plugin_dir = directory / "dp"
    plugin_dir.mkdir()
    running = asyncio.create_task(ModelPlugin(plugin_dir).run())
    try:
        rules = ("--rule", "changes-everywhere", "--rule", "kubelet-restart", "--rule", "stops-on-sigterm")
        change = ("--change", "touch {plugin_dir}/change")
        done = await _verify(*PATIENT, *rules, *change, "--plugin-dir", plugin_dir, "--resource", "example.com/stub")
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert (done.code, done.err) == (Exit.OK, ""), done
    assert "the plugin was not started by a command" in done.out
    assert _names(directory) == ["dp"]


async def test_a_change_on_command() -> None:
    """Both commands may contain {plugin_dir}, which stands for the directory."""
    change = ("--change", "touch {plugin_dir}/change")
    done = await _verify(*PATIENT, "--rule", "changes-everywhere", *change, "--", *PLUGIN)
    assert (done.code, done.out.split()[0]) == (Exit.OK, "passed"), done


async def test_a_change_that_fails() -> None:
    """This is reported as the user's mistake, too."""
    done = await _verify(*PATIENT, "--rule", "changes-everywhere", "--change", "false", "--", *PLUGIN)
    assert done == CommandResult(Exit.USAGE, "", "dphub: --change: false exited with code 1, expected 0\n")


async def test_a_command_that_cannot_be_started() -> None:
    """This is reported as the user's mistake, and no rule is checked."""
    done = await _verify("--", "no-such-plugin")
    error = "dphub: no-such-plugin: cannot be started: No such file or directory\n"
    assert done == CommandResult(Exit.USAGE, "", error)


async def test_a_command_that_exits(directory: Path) -> None:
    """The first rule reports how, with its last output, which is also in the file."""
    output = directory / "output"
    rules = ("--rule", "registers", "--rule", "first-list")
    done = await _verify(*rules, "--output", output, "--", "sh", "-c", "echo no card in this machine; exit 3")
    assert done.code == Exit.FAILED, done
    assert "it did not register a resource: it exited with code 3; its last output: no card in this machine" in done.out
    assert "the plugin is not registered: see the rule registers" in done.out
    assert output.read_text() == "no card in this machine\n"


async def test_a_signal_ends_the_plugin_too(directory: Path) -> None:
    """No process is left behind, and the exit code says that the check was not completed."""
    mark = str(directory)
    words = own_python("hub", "verify", "--rule", "registers", "--", "env", f"MARK={mark}", "sleep", "600")
    async with started(*words, stdout=asyncio.subprocess.DEVNULL) as process:
        await wait_until(lambda: marked("MARK", mark), "the plugin")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(ended(process), WAIT_SECONDS) == Exit.USAGE
    assert marked("MARK", mark) == []


async def test_the_list_of_rules() -> None:
    """The list is available as text and as JSON."""
    done = await _verify("--rules")
    assert (done.code, len(done.out.splitlines())) == (Exit.OK, len(RULES) + 2)
    listed = json.loads((await _verify("--rules", "--json")).out)
    assert [each["rule"] for each in listed] == list(RULES)
    assert all(each["level"] and each["title"] and each["reason"] and each["source"] for each in listed)
