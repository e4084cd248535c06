"""The lock of the image's packages. Nothing here queries an index."""

from pathlib import Path
from typing import Any

import pytest

from scripts import lock

REQUIREMENTS = ["first>=1.2,<2", "Second.Name==3.*"]
LOCKED = f"""
# pyproject.toml: sha256:{lock.digest(REQUIREMENTS)}
first==1.4 \\
    --hash=sha256:aa
second-name==3.1 \\
    --hash=sha256:bb
needed-by-first==7 \\
    --hash=sha256:cc
"""


def _package(*wheels: str, **more: str) -> dict[str, Any]:
    files = [{"url": f"https://example.com/{name}", "hashes": {"sha256": f"of-{name}"}} for name in wheels]
    return {"name": "thing", "version": "1.0", "wheels": files, **more}


def _native(python: str, machine: str) -> str:
    return f"thing-1.0-{python}-{python}-manylinux_2_17_{machine}.manylinux2014_{machine}.whl"


@pytest.mark.parametrize("path", [lock.RUNTIME, lock.BUILD])
def test_a_lock_does_not_depend_on_the_machine(path: Path) -> None:
    """A lock does not name any package index or directory: the user who installs from it chooses the source."""
    lines = path.read_text(encoding="utf-8").splitlines()
    packages = [line for line in lines if not line.startswith("#")]
    assert packages
    for line in packages:
        assert "==" in line or line.strip().startswith("--hash=sha256:")
        assert "/" not in line


def test_a_lock_that_meets_the_requirements_is_up_to_date() -> None:
    """New releases are not drift, and names are compared as a package index compares them."""
    assert lock.drift(REQUIREMENTS, LOCKED) == []


@pytest.mark.parametrize(
    ("requirements", "difference"),
    [
        ([*REQUIREMENTS, "third"], "third is not in it"),
        (["first>=1.5", REQUIREMENTS[1]], "it has first 1.4, but first>=1.5 is required"),
        (["first>=1.3,<2", REQUIREMENTS[1]], "it was generated for other requirements"),
        (REQUIREMENTS[:1], "it was generated for other requirements"),
    ],
)
def test_a_changed_pyproject_is_drift(requirements: list[str], difference: str) -> None:
    """Any change is drift, and the difference is reported even where the pinned versions still fit."""
    assert lock.drift(requirements, LOCKED) == [difference]


def test_only_wheels_that_an_image_can_use_are_locked() -> None:
    """Wheels for other systems and interpreters are left out, as is everything that would have to be compiled."""
    natives = [_native(f"cp3{minor}", machine) for _, minor in lock.PYTHONS for machine in lock.MACHINES]
    others = ["thing-1.0-cp313-cp313-win_amd64.whl", _native("pp311", "x86_64"), _native("cp313", "i686")]
    text = "".join(lock.pinned(_package(*natives, *others)))
    assert text.startswith("thing==1.0 \\\n")
    assert sorted(text.replace(" \\\n", "\n").split()[1:]) == sorted(f"--hash=sha256:of-{name}" for name in natives)


def test_a_wheel_for_all_serves_all() -> None:
    """Wheels of pure Python, and those for the stable interface of an older Python, serve all images."""
    assert list(lock.pinned(_package("thing-1.0-py3-none-any.whl")))
    stable = [_native("cp311", machine).replace("-cp311-m", "-abi3-m") for machine in lock.MACHINES]
    assert list(lock.pinned(_package(*stable)))


def test_a_package_that_one_architecture_lacks_is_an_error() -> None:
    """The error comes before anyone builds an image for that architecture, and names the architecture."""
    natives = [_native(f"cp3{minor}", machine) for _, minor in lock.PYTHONS for machine in lock.MACHINES]
    with pytest.raises(lock.NoWheelError, match=r"no wheel for CPython 3\.13 on aarch64"):
        list(lock.pinned(_package(*(name for name in natives if name != _native("cp313", "aarch64")))))


def test_a_wheel_that_asks_for_a_newer_system_does_not_count() -> None:
    """Debian 12 has glibc 2.36, so a wheel that requires a newer one does not count."""
    new = [f"thing-1.0-cp311-abi3-manylinux_2_39_{machine}.whl" for machine in lock.MACHINES]
    with pytest.raises(lock.NoWheelError):
        list(lock.pinned(_package(*new)))


def test_what_only_some_need_keeps_its_condition() -> None:
    """A package that only some images need keeps its condition, and one that no image needs is left out."""
    everywhere = "thing-1.0-py3-none-any.whl"
    older = list(lock.pinned(_package(everywhere, marker="python_full_version < '3.13'")))
    assert older[0] == "thing==1.0 ; python_full_version < '3.13' \\\n"
    assert list(lock.pinned(_package(everywhere, marker="sys_platform == 'win32'"))) == []
    assert list(lock.pinned(_package(everywhere, marker="implementation_name == 'pypy'"))) == []
