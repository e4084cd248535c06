"""docs/fleet.md: its commands are understood, its figures match the code, and its Role is enough."""

import re
import shlex

import click
import yaml

from benchmarks.fleet import BUDGET, NODES
from hub.cli.fleet import cli, lists, options, proxy, queries
from tests.deploy.manifest_tools import run
from tests.docs.pages import Page
from tests.simulators.podproxy import Answer, Scenario
from tests.unit.cli.fleet.fleet_setup import fleet_of, three_nodes

PAGE = Page("docs/fleet.md")
(ROLE,) = [yaml.safe_load(text) for text in PAGE.of("yaml")]
NOT_RUN = {
    "python3 -m venv ": "needs a package registry; tests/deploy/test_release.py installs the wheel",
    "~/.dphub/bin/pip install ": "needs a package registry; tests/deploy/test_release.py installs the wheel",
    "ln -s ~/.dphub/": "changes the home directory",
    "kubectl dphub --version": "needs the program on PATH; tests/integration/fleet starts it",
}


def test_every_command_is_understood() -> None:
    """The program accepts each command with its options and arguments; a command that is not run has a reason."""
    for command in PAGE.commands:
        if command.startswith(tuple(NOT_RUN)) or " create rolebinding " in command:
            continue
        _, _, name, *words = shlex.split(command)
        cli.commands[name].make_context(name, words, parent=click.Context(cli))


def test_the_lists_and_options_are_those_of_the_program() -> None:
    """Each list and each filter is in a table."""
    named = [cells[0].strip("`") for cells in PAGE.table("command")]
    assert sorted(named) == sorted(each.name or "" for each in vars(lists).values() if isinstance(each, click.Command))
    listed = {name for cells in PAGE.table("option") for name in re.findall("`(-[^`]+)`", cells[0])}
    known = {name for command in cli.commands.values() for option in command.params for name in option.opts}
    assert listed <= known
    assert {"--node", "--resource", "--health", "--pod-namespace"} <= listed


def test_the_figures_are_those_of_the_code() -> None:
    """The page says how many hubs are queried at a time, for how long, and how large a response may be."""
    assert f"queries {options.PARALLEL} hubs at a time" in PAGE.words
    assert f"each for at most {options.TIMEOUT:g} seconds" in PAGE.words
    assert (queries.EXEC_PARALLEL, queries.MAX_ANSWER) == (8, 16 << 20)
    assert "eight at a time" in PAGE.words
    assert "at most 16 MiB" in PAGE.words
    seconds = re.search(rf"For {NODES} nodes, this takes ([0-9.]+) seconds", PAGE.words)
    assert seconds
    assert float(seconds[1]) < BUDGET


def test_the_role_is_enough() -> None:
    """The page's Role allows everything that the lists request, by two rules, and the proxy passes on nothing else."""
    rules = {(resource, verb) for rule in ROLE["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    fleet, requests, kubectl = fleet_of(three_nodes())
    for page in ("/status", "/history"):
        fleet.query(page, dict)
    assert kubectl.commands == []  # type: ignore[attr-defined]
    paths = [path.partition("?")[0] for path in requests.requests]
    asked = {("pods/proxy", "get") if path.endswith(("/status", "/history")) else ("pods", "list") for path in paths}
    assert asked == rules
    accepted = re.compile(proxy.PATHS.format(ROLE["metadata"]["namespace"]))
    assert [path for path in paths if not accepted.search(path)] == []
    for path in ("/api/v1/namespaces/other/pods", f"{paths[0]}/x/exec", f"{paths[0]}/x:9880/proxy/metrics", "/"):
        assert not accepted.search(path), path


def test_the_role_can_be_bound() -> None:
    """The page's command binds it: the names match the Role and the options' defaults."""
    command = shlex.split(PAGE.command("kubectl --namespace device-plugin-hub create rolebinding "))
    done = run(*command, "--dry-run=client", "--output=yaml")
    binding = yaml.safe_load(done.stdout)
    assert binding["roleRef"]["name"] == ROLE["metadata"]["name"]
    assert binding["metadata"]["namespace"] == ROLE["metadata"]["namespace"] == options.NAMESPACE


def test_the_messages_are_those_of_the_program() -> None:
    """The first column of the table has the messages that a user sees."""
    printed = "\n".join(
        str(error) for error in (_error(Answer("x", 502)), _error(Answer("x", 401)), _error(Answer('{"items": []}')))
    )
    messages = [cells[0].strip("`") for cells in PAGE.table("message")]
    assert [text for text in messages if text in printed] == messages[1:3] + messages[4:5]


def _error(listed: Answer) -> object:
    fleet, _, _ = fleet_of(Scenario(listed=listed))
    try:
        return fleet.pods()
    except queries.HubError as error:
        return error
