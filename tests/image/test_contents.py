"""What the image contains and how it describes itself."""

import json
import os
import re
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from hub._version import __version__
from scripts import image as built
from scripts import lock
from tests.image.manifest import read_base
from tests.image.pod import ContainerSpec, Image, StartPod

UNCHECKED_HASH = 1
"""The flag in a bytecode file which says that it is used without a check of its source (PEP 552)."""

INSTALLERS = {"pip", "ensurepip", "setuptools", "pkg_resources", "wheel", "uv"}
COMPILERS = re.compile(r"(.*-)?(cc|c\+\+|gcc|g\+\+|cpp|clang|as|ld|make|rustc|cargo|go)(-?\d.*)?")
PROGRAMS = ["bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin", "opt/dphub/bin"]

# Run by the image's own Python.
FACTS = """
import importlib.metadata, importlib.util, json, sys
print(json.dumps({
    "path": [each for each in sys.path if each],
    "tag": sys.implementation.cache_tag,
    "magic": importlib.util.MAGIC_NUMBER.hex(),
    "installed": {each.name: each.version for each in importlib.metadata.distributions()},
}))
"""
MODULES = (
    "hub.cli.commands.run, hub.supervisor.hub, hub.plugin.__main__, hub.reset.worker, "
    "plugins.amd, plugins.generic, plugins.gpu, plugins.ib, plugins.intel, plugins.stub"
)


async def _facts(start_pod: StartPod) -> dict[str, Any]:
    pod = start_pod(ContainerSpec(command=["python", "-c", FACTS]))
    assert await pod.ended(60) == 0, pod.log
    facts: dict[str, Any] = json.loads(pod.output)
    return facts


def test_a_node_can_import_it_from_a_file(tmp_path: Path) -> None:
    """The archive has the image under its name in the manifests; an older archive is replaced."""
    archive = tmp_path / "device-plugin-hub.tar"
    archive.write_text("an older one")
    built.write_archive(archive)
    with tarfile.open(archive) as files:
        content = files.extractfile("manifest.json")
        assert content
        (described,) = json.load(content)
    (container,) = read_base()["spec"]["template"]["spec"]["containers"]
    assert f"docker.io/library/{container['image']}" in described["RepoTags"]


def _everything(image: Image) -> Iterator[tuple[Path, os.stat_result]]:
    for directory, _, _ in os.walk(image.files):
        for entry in os.scandir(directory):
            yield Path("/", Path(entry.path).relative_to(image.files)), entry.stat(follow_symlinks=False)


def test_it_runs_the_hub_by_default(image: Image) -> None:
    """A pod needs no command, args or environment; `args` alone are passed to dphub, which is in the PATH."""
    config = image.config
    assert (config["Entrypoint"], config["Cmd"]) == (["/opt/dphub/bin/dphub"], ["run"])
    assert config["User"] == ""
    environment = dict(variable.split("=", 1) for variable in config["Env"])
    assert environment.pop("PATH").startswith("/opt/dphub/bin:")
    assert environment == {"LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


def test_its_labels(image: Image) -> None:
    """The image has the labels that registries show, with the version of the hub inside."""
    labels = {name: value for name, value in image.config["Labels"].items() if name.startswith("org.opencontainers.")}
    assert labels == {
        "org.opencontainers.image.title": "Device Plugin Hub",
        "org.opencontainers.image.description": "All of a node's Kubernetes device plugins in one pod",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.version": __version__,
    }


async def test_every_package_is_the_locked_one(start_pod: StartPod) -> None:
    """The image has exactly the packages that container/requirements.txt lists, in those versions, and the hub."""
    text = lock.RUNTIME.read_text(encoding="utf-8")
    locked = {canonicalize_name(name): version for name, version in re.findall(r"^(\S+)==(\S+)", text, re.MULTILINE)}
    facts = await _facts(start_pod)
    installed = {canonicalize_name(name): version for name, version in facts["installed"].items()}
    assert installed == locked | {"device-plugin-hub": __version__}


def test_nothing_in_it_installs_or_compiles(image: Image) -> None:
    """There is no pip, nothing that could reinstall it, no compiler, and nothing left of the build."""
    names = {path: path.name for path, _ in _everything(image)}
    assert [path for path, name in names.items() if name in INSTALLERS or name.startswith("pip-")] == []
    programs = [entry for directory in PROGRAMS for entry in (image.files / directory).glob("*")]
    assert [entry for entry in programs if COMPILERS.fullmatch(entry.name)] == []
    left = ["build", "source", "wheels", "etc/pip.conf", "run/secrets", "root/.cache"]
    assert [name for name in left if (image.files / name).exists()] == []


async def test_all_bytecode_is_compiled(image: Image, start_pod: StartPod) -> None:
    """Every importable module is compiled for the Python inside, and stays valid if the files' dates change."""
    facts = await _facts(start_pod)
    directories = [image.files / each.removeprefix("/") for each in facts["path"]]
    modules = {module for directory in directories for module in directory.rglob("*.py")}
    assert len(modules) > 1000
    expected = bytes.fromhex(facts["magic"]) + UNCHECKED_HASH.to_bytes(4, "little")
    compiled = {module: module.parent / "__pycache__" / f"{module.stem}.{facts['tag']}.pyc" for module in modules}
    missing = [module for module, path in compiled.items() if not path.exists() or path.read_bytes()[:8] != expected]
    assert missing == []


async def test_no_start_compiles_anything(start_pod: StartPod) -> None:
    """All modules that the hub and its plugins import come from bytecode."""
    pod = start_pod(ContainerSpec(command=["python", "-v", "-c", f"import {MODULES}"]))
    assert await pod.ended(60) == 0, pod.log
    loaded = re.findall(r"^# code object from '(.+)'$", pod.log, re.MULTILINE)
    assert len(loaded) > 100
    assert [path for path in loaded if not path.endswith(".pyc")] == []


def test_no_process_gains_privileges_from_it(image: Image) -> None:
    """The image has no setuid program, file capability or device file; only /tmp and the like are world-writable."""
    for path, found in _everything(image):
        kind, mode = stat.S_IFMT(found.st_mode), stat.S_IMODE(found.st_mode)
        assert kind in {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}, path
        if kind == stat.S_IFREG:
            assert not mode & (stat.S_ISUID | stat.S_ISGID), path
            assert "security.capability" not in os.listxattr(image.files / path.relative_to("/")), path
        if kind != stat.S_IFLNK:
            assert not mode & stat.S_IWOTH or mode & stat.S_ISVTX, path


def test_the_hub_inside_belongs_to_root(image: Image) -> None:
    """No other user may change programs that run as root on every node."""
    for path, found in _everything(image):
        if path.is_relative_to("/opt/dphub") or path.is_relative_to("/etc/dphub"):
            assert (found.st_uid, found.st_gid) == (0, 0), path
            assert stat.S_ISLNK(found.st_mode) or not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH), path
