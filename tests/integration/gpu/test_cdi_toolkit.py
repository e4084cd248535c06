"""NVIDIA's container toolkit writes the CDI file of the GPUs if the node has it, and what it writes is checked."""

import json
from pathlib import Path
from typing import Any

import pytest

from hub import ProgramFailed
from plugins.gpu.cdi import toolkit
from tests.unit.plugins.gpu.cdi_writer import VENDOR, CdiWriter

HOOK = "/usr/bin/nvidia-cdi-hook"


def _edits(root: str = "") -> dict[str, Any]:
    return {
        "env": ["NVIDIA_VISIBLE_DEVICES=void"],
        "deviceNodes": [{"path": "/dev/nvidiactl", "hostPath": f"{root}/dev/nvidiactl", "major": 195, "minor": 255}],
        "mounts": [{"hostPath": f"{root}/usr/lib64/libx.so", "containerPath": "/usr/lib64/libx.so", "options": ["ro"]}],
        "hooks": [{"hookName": "createContainer", "path": HOOK, "args": ["nvidia-cdi-hook", "chmod"]}],
    }


def _spec(names: list[str], **more: object) -> dict[str, Any]:
    nodes = {"deviceNodes": [{"path": "/dev/nvidia0", "permissions": "rwm", "fileMode": 438}]}
    return {
        "cdiVersion": "0.7.0",
        "kind": f"{VENDOR}/gpu",
        "containerEdits": _edits(),
        "devices": [{"name": name, "containerEdits": nodes} for name in names],
        **more,
    }


class Node(CdiWriter):
    """A node with the toolkit.

    Args:
        root: Its directory.
        script: What its nvidia-ctk does.
        mig: The MIG layouts of the GPUs.
        flags: Flags of the plugin's configuration.
    """

    def __init__(self, root: Path, script: str = "", mig: Any = None, **flags: object) -> None:  # noqa: ANN401 - the node's
        plugin = {"deviceListStrategy": "cdi-cri", "nvidiaCTKPath": HOOK, **flags}
        super().__init__(root, "a100x2", mig, flags={"plugin": plugin})
        self.tool = root / "usr/bin/nvidia-ctk"
        self.output = root / "output"
        self.args = root / "args"
        self.run(script or f"cat {self.output}")
        self.write(_spec(self.names()))

    def names(self) -> list[str]:
        """Return the names of the GPUs, and "all"."""
        return [*(gpu.uuid for gpu in self.driver.gpus), "all"]

    def run(self, script: str) -> None:
        """Replace the toolkit's program."""
        self.tool.write_text(f'#!/bin/sh\necho "$@" >> {self.args}\n{script}\n')
        self.tool.chmod(0o755)

    def write(self, spec: object) -> None:
        """Have the program write this, with its log before and after it."""
        self.output.write_text(f"time=1 level=warning msg=x\n{json.dumps(spec)}\ntime=2 level=info msg=y\n")

    def file(self) -> dict[str, Any]:
        """Update the CDI files to the driver's state, and return that of the GPUs."""
        gpus = self.gpus()
        self._node_files.refresh(gpus)
        self.update(gpus)
        return json.loads((self.directory / f"{VENDOR}-gpu.json").read_text())  # type: ignore[no-any-return] # JSON


def test_the_toolkit_writes_the_file(tmp_path: Path) -> None:
    """The file has the toolkit's specification, and the toolkit is not run again until something changes."""
    node = Node(tmp_path)
    assert node.file() == node.file() == _spec(node.names())
    assert (node.problem, node.files.note) == ("", "")
    (args,) = node.args.read_text().splitlines()
    assert args.startswith(f"cdi generate --format=json --output= --vendor={VENDOR} --class=gpu ")
    assert f"--driver-root={tmp_path} " in args
    assert args.endswith(f"--nvidia-cdi-hook-path={HOOK}")
    node.driver.unplug(1)
    node.write(_spec(node.names()))
    assert node.file() == _spec(node.names())


def test_hooks_and_flags_are_passed_on(tmp_path: Path) -> None:
    """The toolkit gets them just as NVIDIA's plugin passes its variables to the same code."""
    node = Node(tmp_path)
    settings = node.settings(cdi={"disable_hooks": ["chmod"], "feature_flags": ["x"]})
    toolkit.generate(str(node.tool), settings, node.paths, node.gpus())
    assert node.args.read_text().endswith(f"--nvidia-cdi-hook-path={HOOK} --disable-hook=chmod --feature-flag=x\n")


def test_paths_are_those_of_the_node(tmp_path: Path) -> None:
    """The toolkit finds the driver's files at their paths for this process; the file has their paths on the node."""
    node = Node(tmp_path)
    node.write(_spec(node.names(), containerEdits=_edits(str(tmp_path))))
    assert node.file()["containerEdits"] == _edits()


def test_gpus_with_mig_are_added(tmp_path: Path) -> None:
    """The toolkit does not define GPUs that are partitioned, although containers may still get them."""
    node = Node(tmp_path, mig={1: "mixed"})
    whole, divided = node.driver.gpus
    node.write(_spec([whole.uuid, *(mig.uuid for mig in divided.migs), "all"]))
    names = [device["name"] for device in node.file()["devices"]]
    assert names == [whole.uuid, *(mig.uuid for mig in divided.migs), "all", divided.uuid]
    assert node.files.note == ""


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo no driver >&2; exit 3", "nvidia-ctk failed (exit code 3): no driver"),
        ("echo hello", "nvidia-ctk did not write valid JSON: hello"),
        ("exec sleep 60", "nvidia-ctk did not finish within 0.3 s"),
        ("echo '{}'", "a specification that is not valid: Object missing required field `cdiVersion`"),
        ("sed s/gpu/other/ OUTPUT", "a specification that is not valid: Invalid enum value"),
        ("sed s/permissions/rights/ OUTPUT", "Object contains unknown field `rights`"),
        ("sed s,/dev/nvidia0,nvidia0, OUTPUT", "Expected `str` matching regex '^/'"),
        ("sed s/GPU-/CPU-/ OUTPUT", "wrote a specification without GPU-"),
        (f"sed s,{HOOK},/tmp/hook, OUTPUT", f"with hooks other than {HOOK}: /tmp/hook"),
    ],
)
def test_what_is_not_a_specification_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    """The plugin's own file is written instead, and the reason is recorded."""
    monkeypatch.setattr(toolkit, "TIMEOUT", 0.3 if "sleep" in script else 60)
    node = Node(tmp_path)
    node.run(script.replace("OUTPUT", str(node.output)))
    assert node.file()["cdiVersion"] == "0.5.0"
    assert node.problem == ""
    assert node.files.note.startswith("the CDI file is written without NVIDIA's container toolkit: nvidia-ctk ")
    assert reason in node.files.note


def test_too_much_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only part of the output is kept, which is then not valid JSON."""
    monkeypatch.setattr(toolkit, "MAX_OUTPUT", 100)
    node = Node(tmp_path)
    with pytest.raises(ProgramFailed, match="did not write valid JSON"):
        toolkit.generate(str(node.tool), node.settings(), node.paths, node.gpus())
