"""The directory of the CDI files: which files are written and removed."""

import json
from pathlib import Path

from tests.harness.gpu_support import facts
from tests.unit.plugins.gpu.cdi_writer import VENDOR, CdiWriter


def test_in_step_with_the_devices(tmp_path: Path) -> None:
    """New devices are named, removed ones are not; an equal file is not touched; without GPUs there is none."""
    writer = CdiWriter(tmp_path)
    writer.specs()
    path = writer.directory / f"{VENDOR}-gpu.json"
    before = path.stat()
    writer.specs()
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    gone = writer.driver.unplug(0)
    assert gone.uuid in path.read_text()
    assert gone.uuid not in json.dumps(writer.specs())
    assert path.stat().st_ino != before.st_ino
    assert path.stat().st_mode & 0o777 == 0o644
    assert writer.specs([]) == {}


def test_files_of_others_stay(tmp_path: Path) -> None:
    """Only the plugin's own files are removed, including those from a time when CDI was configured."""
    CdiWriter(tmp_path / "a").specs()
    writer = CdiWriter(tmp_path / "b", flags={"plugin": {"deviceListStrategy": "envvar"}})
    (tmp_path / "a/var/run/cdi").rename(tmp_path / "b/cdi")
    (tmp_path / "b/var/run").mkdir(parents=True)
    (tmp_path / "b/cdi").rename(writer.directory)
    (writer.directory / "nvidia.com-gpu.json").write_text("{}")
    writer._node_files.refresh([])
    writer.update(facts(writer.driver))
    assert [path.name for path in writer.directory.iterdir()] == ["nvidia.com-gpu.json"]


def test_without_cdi_nothing_is_made(tmp_path: Path) -> None:
    """The directory is not created, either."""
    writer = CdiWriter(tmp_path, flags={})
    assert writer.specs() == {}
    assert not writer.directory.exists()


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """The reason is reported for as long as this lasts."""
    writer = CdiWriter(tmp_path)
    writer.directory.parent.mkdir(parents=True)
    writer.directory.write_text("in the way")
    writer.update(facts(writer.driver))
    assert writer.problem.startswith("the CDI file cannot be written: ")
    writer.directory.unlink()
    writer.specs()
    assert writer.problem == ""
