"""`dphub check` finds every mistake before anything is started."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hub.base.exits import Exit


def _check(directory: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hub", "check", *args]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def _write(directory: Path, **files: str) -> None:
    for name, text in files.items():
        (directory / name.replace("_", ".")).write_text(text)


def test_valid_plugins(tmp_path: Path) -> None:
    """Each plugin is named, and nothing is created in the directory."""
    _write(
        tmp_path, circus_ini="[watcher:a]\ncmd = python -m hub.plugin plugins.stub:Stub\n[watcher:b]\ncmd = sleep 9\n"
    )
    done = _check(tmp_path)
    assert (done.returncode, done.stderr) == (Exit.OK, "")
    assert done.stdout.splitlines() == ["a: ok", "b: ok", "circus.ini: ok, 2 plugins"]
    assert [path.name for path in tmp_path.iterdir()] == ["circus.ini"]


def test_every_plugin_with_a_mistake_is_reported(tmp_path: Path) -> None:
    """A bad key, a variable with a bad value, a missing class and a missing program are all reported in one run."""
    _write(
        tmp_path,
        a_yaml="resources: [{name: example.com/x, devises: 3}]",
        circus_ini="""
[watcher:a]
cmd = python -m hub.plugin plugins.stub:Stub --config a.yaml
[watcher:b]
cmd = python -m hub.plugin plugins.gpu:GPU
autostart = false
[env:b]
MIG_STRATEGY = halves
[watcher:c]
cmd = python -m hub.plugin plugins.stub:Stab
[watcher:d]
cmd = no-such-program
[watcher:e]
cmd = python -m hub.plugin plugins.stub:Stub
""",
    )
    done = _check(tmp_path, "circus.ini")
    words = "unknown value 'halves', expected one of none, single, mixed"
    assert done.returncode == Exit.USAGE
    assert done.stderr.splitlines() == [
        'a: a.yaml: resources[0]: unknown key "devises"; did you mean devices?',
        f"b: MIG_STRATEGY: {words} (it sets flags.migStrategy) (autostart = false)",
        'c: plugin "plugins.stub:Stab": Stab does not exist; plugins.stub has Stub',
        "d: there is no program no-such-program",
    ]
    assert done.stdout.splitlines() == ["e: ok"]


def test_a_wrong_argument_does_not_disclose_its_value(tmp_path: Path) -> None:
    """After `dphub reload`, the mistake is in the status, which all users may read."""
    words = "--token=hunter2 --password hunter2 -phunter2 hunter2 '--password hunter2' --token:hunter2 -=hunter2"
    _write(tmp_path, circus_ini=f"[watcher:a]\ncmd = python -m hub.plugin plugins.stub:Stub {words}\n")
    done = _check(tmp_path)
    assert (done.returncode, "hunter2" in done.stderr) == (Exit.USAGE, False), done
    assert "unrecognized arguments: --token --password ... -p ... --password --token ...\n" in done.stderr


@pytest.mark.parametrize("words", ["--help=hunter2", "-hunter2", "$(circus.env.x)"])
def test_a_flag_that_takes_no_value_does_not_disclose_one(tmp_path: Path, words: str) -> None:
    """Nor is a password shown that comes from a variable, or begins like a flag."""
    _write(
        tmp_path,
        circus_ini=f"[watcher:a]\ncmd = python -m hub.plugin plugins.stub:Stub {words}\n[env]\nx = --help=hunter2\n",
    )
    done = _check(tmp_path)
    assert (done.returncode, "unter2" in done.stderr) == (Exit.USAGE, False), done
    assert "takes no value" in done.stderr


def test_a_circus_ini_that_dphub_run_would_refuse(tmp_path: Path) -> None:
    """`dphub check` reports it in the words of `dphub run`, and checks no plugin."""
    _write(tmp_path, circus_ini="[watcher:a]\ncmd = sleep 9\nnumproceses = 2\n")
    done = _check(tmp_path)
    assert done.returncode == Exit.USAGE
    assert "circus.ini" in done.stderr
    assert "numproceses" in done.stderr


def test_the_file_of_one_plugin(tmp_path: Path) -> None:
    """The file can be checked before it goes into a ConfigMap."""
    _write(tmp_path, good_yaml="version: v1\nflags: {migStrategy: mixed}", bad_yaml="version: v1\nflags: {mig: mixed}")
    good = _check(tmp_path, "--plugin", "plugins.gpu:GPU", "good.yaml")
    assert (good.returncode, good.stdout) == (Exit.OK, "good.yaml: ok\n")
    bad = _check(tmp_path, "--plugin", "plugins.gpu:GPU", "bad.yaml")
    assert (bad.returncode, bad.stderr) == (Exit.USAGE, 'bad.yaml: flags: unknown key "mig"\n')


def test_a_host_root_that_is_not_there(tmp_path: Path) -> None:
    """A missing host root is not mistaken for a node without devices."""
    done = _check(tmp_path, "--plugin", "plugins.stub:Stub", "--scan", "--host-root", "no-such-directory")
    said = f"{tmp_path}/no-such-directory is not a directory, expected the node's file system"
    assert (done.returncode, said in done.stderr) == (Exit.USAGE, True), done.stderr


def test_a_plugin_that_crashes_when_it_is_made(tmp_path: Path) -> None:
    """The check reports its last error."""
    _write(
        tmp_path,
        odd_py="import hub\nclass Odd(hub.Plugin):\n    def devices(self):\n        return []\n"
        "    def __init__(self, *args):\n        raise OSError('no')\n",
        circus_ini="[watcher:a]\ncmd = python -m hub.plugin odd.py:Odd\n",
    )
    done = _check(tmp_path, "--load")
    assert done.returncode == Exit.USAGE
    assert done.stderr == f"a: Odd() failed at {tmp_path}/odd.py:6: OSError: no\n"


def test_a_plugin_that_crashes_when_it_is_asked(tmp_path: Path) -> None:
    """Only the checking process crashes; the command prints its output, and then names the signal."""
    _write(
        tmp_path,
        odd_py="import hub, os, signal\nclass Odd(hub.Plugin):\n    resource = 'example.com/odd'\n"
        "    def devices(self):\n        print('here', flush=True)\n        os.kill(os.getpid(), signal.SIGSEGV)\n"
        "        return []\n",
    )
    assert _check(tmp_path, "--plugin", "odd.py:Odd").returncode == Exit.OK
    done = _check(tmp_path, "--plugin", "odd.py:Odd", "--scan")
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert done.stderr == "here\nodd.py:Odd: it was killed by SIGSEGV\n"


def test_a_scan_for_programs(tmp_path: Path) -> None:
    """Whatever the plugin prints, the output is one JSON document: devices, what is left out, and what is wrong."""
    _write(
        tmp_path,
        odd_py="import hub\nclass Odd(hub.Plugin):\n    resource = 'example.com/odd'\n"
        "    def devices(self):\n        print('here')\n        yield hub.Device('a', unhealthy='cold', numa=[1])\n"
        "        yield hub.Excluded('c', 'not ours')\n        yield 5\n",
    )
    done = _check(tmp_path, "--plugin", "odd.py:Odd", "--scan", "--json")
    said = json.loads(done.stdout)
    assert done.returncode == Exit.USAGE
    device = {"resource": "example.com/odd", "id": "a", "unhealthy": "cold", "numa": [1], "files": []} | {
        "physical": "",
        "env": {},
    }
    assert (said["devices"], said["excluded"]) == ([device], [{"id": "c", "reason": "not ours"}])
    assert [problem.partition(":")[0] for problem in said["problems"]] == ["example.com/odd"]


def test_a_plugin_is_loaded_on_request_only(tmp_path: Path) -> None:
    """Without --load, a circus.ini from any source is safe to check, and the check says what it left out."""
    _write(tmp_path, odd_py="print('here')\n", circus_ini="[watcher:a]\ncmd = python -m hub.plugin odd.py:Odd\n")
    done = _check(tmp_path)
    note = "its code was not loaded; --load loads and checks it"
    assert (done.returncode, done.stderr) == (Exit.OK, "")
    assert done.stdout.splitlines() == [f"a: ok ({note})", "circus.ini: ok, 1 plugin"]
    done = _check(tmp_path, "--load")
    assert (done.returncode, "Odd does not exist" in done.stderr) == (Exit.USAGE, True), done
    done = _check(tmp_path, "--load", "--plugin", "odd.py:Odd")
    assert (done.returncode, "so --load is for a circus.ini only" in done.stderr) == (Exit.USAGE, True), done


ODD = """
import hub
class Odd(hub.Plugin):
    resource = "example.com/odd"
    def devices(self):
        for n in range(3):
            yield hub.Device(f"a::{n}", nodes=[hub.DeviceNode("/dev/null")], physical="a")
        yield hub.Unmatched("no file matches /dev/x*", "example.com/odd")
"""


def _devices(directory: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hub", "devices", "--run-dir", "none", *args]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def test_what_a_file_would_offer(tmp_path: Path) -> None:
    """`dphub devices` shows this without a hub, for the name of a section or for a class."""
    _write(tmp_path, stub_yaml="resources: [{name: example.com/x, devices: 2}]", wrong_yaml="resource: []")
    for name in ("stub", "plugins.stub:Stub"):
        done = _devices(tmp_path, "--plugin", name, "--scan", "stub.yaml")
        assert (done.returncode, done.stderr) == (Exit.OK, ""), done
        assert [line.split()[:3] for line in done.stdout.splitlines()[2:4]] == [
            ["x-0", "example.com/x", "healthy"],
            ["x-1", "example.com/x", "healthy"],
        ]
        done = _devices(tmp_path, "--plugin", name, "--scan", "wrong.yaml", "--json")
        assert (done.returncode, "did you mean resources?" in done.stdout) == (Exit.USAGE, True), done
    (tmp_path / "own").mkdir()
    _write(tmp_path / "own", odd_py=ODD)
    _write(
        tmp_path, circus_ini="[watcher:odd]\ncmd = python -m hub.plugin odd.py:Odd\nworking_dir = own\n", odd_yaml="{}"
    )
    done = _devices(tmp_path, "--plugin", "odd", "--scan", "odd.yaml")
    assert [" ".join(line.split()) for line in done.stdout.splitlines()[2:]] == [
        "a::0 ... a::2 (3) example.com/odd healthy /dev/null",
        "example.com/odd: no file matches /dev/x*",
        "odd.yaml: ok, 1 setting without a match",
    ], done


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("--plugin stub", "must be used together"),
        ("--scan stub.yaml", "must be used together"),
        ("gpu --plugin stub --scan stub.yaml", "all devices of the plugin, once"),
        ("--watch --plugin stub --scan stub.yaml", "all devices of the plugin, once"),
        ("--plugin stab --scan stub.yaml", "did you mean stub?"),
    ],
)
def test_an_incomplete_request_for_a_scan(tmp_path: Path, words: str, error: str) -> None:
    """The error says what is missing."""
    done = _devices(tmp_path, *words.split())
    assert (done.returncode, error in done.stderr) == (Exit.USAGE, True), done


@pytest.mark.parametrize("flag", ["--scan", "--json"])
def test_a_scan_is_of_one_plugin(tmp_path: Path, flag: str) -> None:
    """Without a plugin, the error names the missing flag."""
    done = _check(tmp_path, flag)
    assert (done.returncode, "needs --plugin" in done.stderr) == (Exit.USAGE, True), done.stderr


@pytest.mark.parametrize(
    ("target", "text", "words"),
    [
        ("plugins.stub:Stub", "resources: [{name: kubernetes.io/bad}]", "the domain kubernetes.io is reserved"),
        ("plugins.stub:Stub", "resources: [{name: a/b}, {name: bad}]", 'resource "bad" needs a domain before a slash'),
        ("plugins.gpu:GPU", "dphub: {reset: {nvidia.com/gpus: check}}", "no GPU is advertised as nvidia.com/gpus"),
        (
            "plugins.ib:IB",
            "configList: [{resourceName: a, devices: [ib0]}, {resourceName: b, devices: [ib1], mode: hcas}]",
            "configList[1].mode: unknown value 'hcas', expected one of pool, hca, vf",
        ),
        ("plugins.gpu:Foo", "", "Foo does not exist; plugins.gpu has GPU"),
        ("plugins.ib:Foo", "", "Foo does not exist; plugins.ib has IB"),
    ],
)
def test_a_mistake_is_reported_with_what_is_expected(tmp_path: Path, target: str, text: str, words: str) -> None:
    """An invalid resource name, a resource that the file does not make, or an unknown word or class is explained."""
    _write(tmp_path, a_yaml=text)
    done = _check(tmp_path, "--plugin", target, "a.yaml")
    assert (done.returncode, words in done.stderr) == (Exit.USAGE, True), done.stderr


def test_resources_that_the_node_names(tmp_path: Path) -> None:
    """MIG devices have resources that are named after profiles, which are unknown before the plugin runs."""
    _write(tmp_path, a_yaml="{flags: {migStrategy: mixed}, dphub: {reset: {nvidia.com/mig-1g.5gb: check}}}")
    done = _check(tmp_path, "--plugin", "plugins.gpu:GPU", "a.yaml")
    assert (done.returncode, done.stdout) == (Exit.OK, "a.yaml: ok\n"), done.stderr
