"""What circus.ini may contain, and how its mistakes are reported."""

import signal
import time
from pathlib import Path

import pytest

from hub.base.errors import ConfigError
from hub.supervisor.config.watchers import PluginConfig, read_config, shipped_config

ROOT = Path(__file__).parents[4]

SECRET = "hunter2"  # noqa: S105 - only an example
GOOD = "[watcher:a]\ncmd = sleep 1\n"
DRA = "[watcher:a]\ncmd = python -m hub.plugin a:A\napi = dra\n"


def read(directory: Path, text: str) -> list[PluginConfig]:
    """Return the plugins that a circus.ini with this text lists."""
    path = directory / "circus.ini"
    path.write_text(text)
    return read_config(path)


def test_shipped_configuration_lists_all_plugins() -> None:
    """The file that comes with the hub is valid, runs gpu, ib and stub, and has a line for every other plugin."""
    plugins = read_config(shipped_config())
    assert [(plugin.name, plugin.cmd) for plugin in plugins if plugin.autostart] == [
        ("gpu", "python -m hub.plugin plugins.gpu:GPU"),
        ("ib", "python -m hub.plugin plugins.ib:IB"),
        ("stub", "python -m hub.plugin plugins.stub:Stub"),
    ]
    packages = {path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py")}
    assert {plugin.name: plugin.target.partition(":")[0] for plugin in plugins} == {
        name: f"plugins.{name}" for name in packages
    }


def test_a_file_has_a_size(tmp_path: Path) -> None:
    """A file larger than any configuration is refused before it is parsed."""
    with pytest.raises(ConfigError, match="too large, expected at most 65536 bytes"):
        read(tmp_path, f"{GOOD}args = {'x' * 65_536}\n")


def test_a_line_of_any_length_is_read_at_once(tmp_path: Path) -> None:
    """While it reads its configuration, a hub does nothing else."""
    before = time.thread_time()
    with pytest.raises(ConfigError, match=r"line 3: expected `key = value`"):
        read(tmp_path, f"{GOOD}a{' ' * 65_000}b\n")
    assert time.thread_time() - before < 1


def test_every_key_is_read(tmp_path: Path) -> None:
    """Each key that may be set takes effect."""
    text = """
    # a comment
    [watcher:a.b-c_1]
    cmd = sleep      ; a comment
    args = "1 2" 3
    working_dir = /
    autostart = no
    priority = -3
    graceful_timeout = 0.5
    stop_signal = usr1
    numprocesses = 1
    singleton = True
    rlimit_nofile = 100
    rlimit_core =
    """
    (plugin,) = read(tmp_path, "\n".join(line.strip() for line in text.splitlines()))
    assert plugin == PluginConfig(
        name="a.b-c_1",
        cmd="sleep",
        args='"1 2" 3',
        working_dir="/",
        autostart=False,
        priority=-3,
        graceful_timeout=0.5,
        stop_signal=signal.SIGUSR1,
        rlimits={"nofile": 100, "core": -1},
        command=("sleep", "1 2", "3"),
    )


@pytest.mark.parametrize(("line", "expected"), [("", "."), ("working_dir = sub/dir\n", "sub/dir")])
def test_a_working_directory_is_that_of_the_file(tmp_path: Path, line: str, expected: str) -> None:
    """What a plugin finds by a relative path does not depend on the directory in which the hub was started."""
    (plugin,) = read(tmp_path, GOOD + line)
    assert Path(plugin.working_dir) == tmp_path / expected


def test_the_name_of_a_driver(tmp_path: Path) -> None:
    """Unless it is set, it is the plugin's name in our domain or a configured one; only plugins with DRA have one."""

    def driver(text: str) -> str:
        (plugin,) = read(tmp_path, text)
        return plugin.dra_driver

    assert driver(DRA) == "a.dphub.dev"
    assert driver(DRA.replace("a]", "My_GPUs]")) == "my-gpus.dphub.dev"
    assert driver(DRA + "driver_domain = devices.example.com") == "a.devices.example.com"
    assert driver(DRA + "driver = gpu.example.com") == "gpu.example.com"
    assert driver(GOOD + "driver_domain = devices.example.com\nevict = true") == ""


def test_environment_of_all_and_of_one(tmp_path: Path) -> None:
    """[env] is for every plugin, [env:NAMES] for those it names, and the more specific one has precedence."""
    plugins = read(
        tmp_path,
        "[env:b*, c]\nWHO = some\n[env]\nWHO = all\nX = 1\n"
        "[watcher:a]\ncmd = x\n[watcher:b1]\ncmd = x\n[watcher:c]\ncmd = x\n",
    )
    assert {plugin.name: plugin.env for plugin in plugins} == {
        "a": {"WHO": "all", "X": "1"},
        "b1": {"WHO": "some", "X": "1"},
        "c": {"WHO": "some", "X": "1"},
    }


@pytest.mark.parametrize("line", ["include = more/*.ini", "include_dir = more", "include = {tmp}/more/b.ini"])
def test_included_files(tmp_path: Path, line: str) -> None:
    """Plugins may be in files of their own, named relative to the main file, by pattern or by path."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.ini").write_text("[watcher:b]\ncmd = sleep 2\n")
    text = f"[circus]\n{line.format(tmp=tmp_path)}\n{GOOD}"
    assert {plugin.name for plugin in read(tmp_path, text)} == {"a", "b"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + "cmd_ = x", ["[watcher:a] cmd_", "unknown key", "graceful_timeout"]),
        (GOOD + "Cmd = x", ["[watcher:a] Cmd", "unknown key"]),
        (GOOD + "cmd = x", ["[watcher:a] cmd", "duplicate key", "line 3"]),
        (GOOD + GOOD, ["[watcher:a]", "duplicate section", "line 3"]),
        (GOOD + "[watcher:A]\ncmd = x", ["[watcher:A]", "[watcher:a] has the same name"]),
        (GOOD + "autostart = maybe", ["[watcher:a] autostart", "'maybe'", "true or false"]),
        (GOOD + "priority = 1.5", ["[watcher:a] priority", "'1.5'", "whole number"]),
        (GOOD + "graceful_timeout = soon", ["[watcher:a] graceful_timeout", "'soon'", "seconds"]),
        (GOOD + "graceful_timeout = -1", ["[watcher:a] graceful_timeout", "seconds"]),
        (GOOD + "graceful_timeout = nan", ["[watcher:a] graceful_timeout", "seconds"]),
        (GOOD + "graceful_timeout = inf", ["[watcher:a] graceful_timeout", "seconds"]),
        (GOOD + "stop_signal = SIGNONE", ["[watcher:a] stop_signal", "'SIGNONE'", "SIGTERM"]),
        (GOOD + "stop_signal = 99", ["[watcher:a] stop_signal", "'99'"]),
        (GOOD + "uid = no-such-user", ["[watcher:a] uid", "the hub sets this"]),
        (GOOD + "gid = 1234567", ["[watcher:a] gid", "the hub sets this"]),
        (GOOD + "rlimit_nofiles = 10", ["[watcher:a] rlimit_nofiles", "unknown limit", "rlimit_nofile"]),
        (GOOD + "rlimit_nofile = many", ["[watcher:a] rlimit_nofile", "whole number"]),
        (GOOD + "hooks.before_start = no.such.hook", ["[watcher:a] hooks.before_start", "the hub sets this"]),
        (GOOD + "singleton = false", ["[watcher:a] singleton", "expected true"]),
        (GOOD + "singleton = 2", ["[watcher:a] singleton", "not a boolean"]),
        (GOOD + "numprocesses = 2", ["[watcher:a] numprocesses", "expected 1"]),
        (GOOD + "numprocesses = two", ["[watcher:a] numprocesses", "whole number"]),
        (GOOD + "copy_env = true", ["[watcher:a] copy_env", "the hub sets this"]),
        (GOOD + "stdout_stream.class = FileStream", ["[watcher:a] stdout_stream.class", "the hub sets this"]),
        (GOOD + "driver = GPU", ["[watcher:a] driver", "'GPU'", "gpu.example.com"]),
        (GOOD + "driver_domain = a_b.com", ["[watcher:a] driver_domain", "'a_b.com'", "devices.example.com"]),
        (GOOD + "evict = sometimes", ["[watcher:a] evict", "true or false"]),
        (DRA + "driver = a.b\ndriver_domain = b", ["[watcher:a] driver_domain", "remove one of the two"]),
        (DRA + f"driver_domain = {'d' * 62}", ["[watcher:a] driver", "64 characters", "at most 63"]),
        (DRA + DRA.replace("a]", "b]") + "driver = a.dphub.dev", ["[watcher:b] driver", "driver of [watcher:a]"]),
        (GOOD + "[circus]\nendpoint = tcp://127.0.0.1:5555", ["[circus] endpoint", "the hub sets this"]),
        (GOOD + "[circus]\nstatsd = true", ["[circus] statsd", "the hub sets this"]),
        (GOOD + "[circus]\nchek_delay = 1", ["[circus] chek_delay", "unknown key", "include"]),
        (GOOD + "[circus]\ninclude = none*.ini", ["[circus] include", "no file", "none*.ini"]),
        (GOOD + "[circus]\ninclude = /**/*.ini", ["[circus] include", "/**/*.ini", "only in the file name"]),
        (GOOD + "[circus]\ninclude = /*/*/*/*/*.ini", ["[circus] include", "only in the file name"]),
        (GOOD + "[circus]\ninclude = **", ["[circus] include", "**", "only in the file name"]),
        (GOOD + "[circus]\ninclude_dir = none", ["[circus] include_dir", "no directory"]),
        (GOOD + "[socket:web]\nport = 80", ["[socket:web]", "unknown section", "[watcher:NAME]"]),
        (GOOD + "[plugin:flapping]\nuse = x", ["[plugin:flapping]", "unknown section"]),
        (GOOD + "[DEFAULT]\ncmd = x", ["[DEFAULT]", "unknown section"]),
        (GOOD + "[watcher]\ncmd = x", ["[watcher]", "unknown section"]),
        ("[watcher:a]\nargs = 1", ["[watcher:a] cmd", "missing, expected"]),
        ("[watcher:a]\n", ["[watcher:a] cmd", "missing, expected"]),
        ("[watcher:a]\ncmd =", ["[watcher:a] cmd", "empty, expected"]),
        ("[watcher:a]\ncmd = sh -c 'x", ["[watcher:a] cmd", "No closing quotation"]),
        ("[watcher:../a]\ncmd = x", ["[watcher:../a]", "letters"]),
        ("[watcher:]\ncmd = x", ["[watcher:]", "letters"]),
        ("[watcher:a b]\ncmd = x", ["[watcher:a b]", "letters"]),
        (f"[watcher:{'a' * 64}]\ncmd = x", ["63"]),
        ("cmd = x", ["line 1", "expected a [section] first"]),
        ("[watcher:a]\ncmd x\n", ["line 2", "expected `key = value` or [section]"]),
        ("[env]\nA = 1", ["no [watcher:NAME] section"]),
        ("# nothing", ["no [watcher:NAME] section"]),
        (" \n", ["is empty"]),
        (GOOD + f"args = {'x' * 16385}", ["[watcher:a] args", "16385 characters", "at most 16384"]),
        ("[watcher:a]\ncmd = x $(circus.env.NO_SUCH)", ["[watcher:a] cmd", "variable NO_SUCH is set neither in [env]"]),
        ("[watcher:a]\ncmd = x $(circus.wid)", ["[watcher:a] cmd", "circus.wid", "$(circus.env.NAME)"]),
        ("[watcher:a]\ncmd = $(circus.env.X)\n[env]\nX =", ["[watcher:a] cmd", "empty, expected the command"]),
        ("[watcher:a]\ncmd = $(circus.env.X)\n[env]\nX = '", ["[watcher:a] cmd", "No closing quotation"]),
        (
            f"[watcher:a]\ncmd = {'$(circus.env.X)' * 500}\n[env]\nX = {'x' * 50_000}",
            ["[watcher:a] cmd", "more than 16384 characters after its variables are replaced"],
        ),
        ("".join(f"[watcher:w{n}]\ncmd = x\n" for n in range(251)), ["251 [watcher:NAME] sections", "at most 250"]),
        (f"{GOOD}[env:{'a,' * 300}]\nA = 1", ["301 names", "at most 250"]),
        (f"{GOOD}[env:{'[' * 8000}]\nA = 1", ["8000 characters", "at most 200"]),
        (f"{GOOD}[env]\nA = {'x' * 40_000}\n[env:a]\nB = $OF_HUB", ["[watcher:a]", "80002 characters"]),
        (GOOD + "watchdog = 1e-320", ["[watcher:a] watchdog", "'1e-320'", "0.1 to 86400 seconds, or 0"]),
        (GOOD + "watchdog = 1e9", ["[watcher:a] watchdog", "'1e9'"]),
    ],
)
def test_mistakes_name_file_section_and_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: list[str]
) -> None:
    """Every mistake is one line that names the file, the location in it, and what was expected."""
    monkeypatch.setenv("OF_HUB", "x" * 40_000)
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    said = str(caught.value)
    assert "\n" not in said
    for word in [str(tmp_path / "circus.ini"), *words]:
        assert word in said


@pytest.mark.parametrize(
    "text",
    [
        f"{GOOD}PASSWORD {SECRET}\n",
        f"{GOOD}{SECRET}\n",
        f"{GOOD}= {SECRET}\n",
        f"{GOOD}[{SECRET}\n",
        f"[env]\nPASSWORD = {SECRET}\n{GOOD}[env]\nPASSWORD = {SECRET}\n",
        f"[env]\nPASSWORD = {SECRET}\nPASSWORD = {SECRET}\n{GOOD}",
        f"PASSWORD = {SECRET}\n{GOOD}",
        f"{GOOD}PASSWORD = {SECRET}\n",
        f"[watcher:a]\ncmd = x --password '{SECRET}\n",
        f"[watcher:a]\ncmd = PASSWORD={SECRET} x\n",
        f"[watcher:a]\ncmd = 'PASSWORD={SECRET}' x\n",
        f"[watcher:a]\ncmd = 'x --password {SECRET}'\n",
        f"[watcher:a]\ncmd = python -m hub.plugin 'plugins.stub:Stub --password {SECRET}'\n",
        f"[watcher:a]\ncmd = python -m hub.plugin plugins.stub:Stub\nargs = --config 'x.yaml --password {SECRET}'\n",
        f"[watcher:a]\ncmd = '$(circus.env.X)'\n[env]\nX = x --password {SECRET}\n",
        f"[watcher:a]\ncmd = python -m hub.plugin '((circus.env.x))'\n[env]\nX = a:A --password {SECRET}\n",
        f"[watcher:a]\ncmd = python -m hub.plugin a:A $(circus.env.X)\n[env]\nX = --check={SECRET}\n",
        f"[watcher:a]\ncmd = $(circus.env.X)\n[env]\nX = x --password '{SECRET}\n",
        *(
            f"{GOOD}{key}\n  [env]\n  PASSWORD = {SECRET}\n"
            for key in ("watchdog = 30", "args = -x", "autostart = true")
        ),
        f"{GOOD}priority = 1\n  PASSWORD={SECRET}\n",
        f"[watcher:a]\ncmd = sleep 1\n  PASSWORD: {SECRET}\n",
    ],
)
def test_a_mistake_does_not_disclose_a_value(tmp_path: Path, text: str) -> None:
    """The text of a mistake is in the status, which all users may read; the location is enough to find the line."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert SECRET not in str(caught.value)


def test_a_program_may_have_a_space_in_its_path(tmp_path: Path) -> None:
    """If the path exists, it is not a command that was put in quotes together with its arguments."""
    program = tmp_path / "my program"
    program.touch()
    (plugin,) = read(tmp_path, f"[watcher:a]\ncmd = '{program}' --flag 'one --two'\n")
    assert plugin.cmd == f"'{program}' --flag 'one --two'"


def test_variables_are_replaced_before_the_command_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is checked is what is run: the words of a variable's value count, but no variables within the value."""
    monkeypatch.setenv("OF_HUB", "from the hub")
    environment = "[env]\nTARGET = serial:Serial --a\nAGAIN = $(circus.env.TARGET)\nOTHER = $OF_HUB, $NO_SUCH!"
    (plugin,) = read(
        tmp_path,
        "[watcher:a]\ncmd = python -m hub.plugin $(circus.env.target)\n"
        f"args = ((circus.env.OF_HUB)) '$(circus.env.AGAIN)' $HOME\n{environment}\n",
    )
    words = ("serial:Serial", "--a", "from", "the", "hub", "$(circus.env.TARGET)", "$HOME")
    assert plugin.command == ("python", "-m", "hub.plugin", *words)
    assert plugin.target == "serial:Serial"
    assert plugin.env["OTHER"] == "from the hub, !"


def test_a_command_may_have_several_lines(tmp_path: Path) -> None:
    """Indented lines continue it."""
    (plugin,) = read(tmp_path, "[watcher:a]\ncmd = python -m hub.plugin\n  serial:Serial\n  --config=a.yaml\n")
    assert plugin.cmd.split()[-2:] == ["serial:Serial", "--config=a.yaml"]


def test_a_mistake_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    """The error names the file that has to be fixed."""
    (tmp_path / "b.ini").write_text("[watcher:b]\ncmd = x\nautostart = perhaps\n")
    with pytest.raises(ConfigError, match=r"b\.ini: \[watcher:b\] autostart"):
        read(tmp_path, f"{GOOD}[circus]\ninclude = b.ini\n")


def test_the_same_plugin_in_two_files(tmp_path: Path) -> None:
    """It is a mistake, because two files cannot define one plugin."""
    (tmp_path / "b.ini").write_text(GOOD)
    with pytest.raises(ConfigError, match=r"b\.ini: \[watcher:a\]: duplicate section; it is also in .*circus\.ini"):
        read(tmp_path, f"{GOOD}[circus]\ninclude = b.ini\n")


def test_a_file_is_included_once(tmp_path: Path) -> None:
    """A file that is named thousands of times does not keep the hub busy."""
    (tmp_path / "b.ini").write_text("# no plugin yet\n")
    with pytest.raises(ConfigError, match=r"\[circus\] include: \./b\.ini is included twice"):
        read(tmp_path, f"{GOOD}[circus]\ninclude = b.ini ./b.ini\n")


def test_an_included_file_includes_nothing(tmp_path: Path) -> None:
    """The main file alone defines which files belong to it."""
    (tmp_path / "b.ini").write_text("[circus]\ninclude = c.ini\n")
    with pytest.raises(ConfigError, match=r"b\.ini: \[circus\]: not allowed in an included file"):
        read(tmp_path, f"{GOOD}[circus]\ninclude = b.ini\n")


@pytest.mark.parametrize("key", ["include", "include_dir"])
@pytest.mark.parametrize(
    "path", ["x" * 300, "x/" * 3000, "**x", "a\0b"], ids=["long name", "long path", "stars", "zero"]
)
def test_a_path_that_cannot_exist_is_a_mistake_of_its_key(tmp_path: Path, key: str, path: str) -> None:
    """It is reported like a path that does not exist."""
    with pytest.raises(ConfigError, match=rf"circus.ini: \[circus\] {key}: "):
        read(tmp_path, f"{GOOD}[circus]\n{key} = {path}\n")


def test_the_file_of_a_plugin_is_not_a_configuration(tmp_path: Path) -> None:
    """This is a common slip with `dphub check`: the error names the command that checks such a file."""
    (tmp_path / "gpu.yaml").write_text("version: v1\n")
    with pytest.raises(ConfigError, match=r"expected a \[section\] first, .*dphub check --plugin MODULE:CLASS FILE"):
        read_config(tmp_path / "gpu.yaml")
