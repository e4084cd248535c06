"""A comparison of the fake kubelet and a real one after each step of a script."""

import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.testing.kubelet import FakeKubelet
from hub.testing.kubelet.process import KubeletProcess
from tests.differential.script import PLUGINS, WAYS, Step, Writer
from tests.differential.side import Side
from tests.harness.files import remove_tree
from tests.harness.realkubelet import real_kubelet

_EQUAL_WITHIN = 60.0
"""Seconds after which two kubelets that still differ count as different, even on a busy machine."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What was seen after the last of these steps."""

    seed: int
    steps: Sequence[Step]
    fake: dict[str, Any]
    real: dict[str, Any]

    def __str__(self) -> str:
        """Return the script and what differs."""
        script = [f"  {number}. {step}" for number, step in enumerate(self.steps, 1)]
        facts = [
            f"  {name}\n    fake: {self.fake[name]}\n    real: {self.real[name]}"
            for name in self.fake
            if self.fake[name] != self.real[name]
        ]
        return "\n".join([f"seed {self.seed}", *script, *facts])


async def compare(seed: int, version: str) -> Difference | None:
    """Return the first difference, or None if there is none."""
    try:
        return await _compare(seed, version)
    except Exception as error:
        error.add_note(f"seed {seed}")
        raise


async def _compare(seed: int, version: str) -> Difference | None:
    steps = Writer(seed, _plugins(version), _ways(version)).write()
    async with _side(_kubelet(real_kubelet(version))) as real, _side(_kubelet(KubeletProcess), version) as fake:
        await real.begin()
        await fake.begin()
        for number, step in enumerate(steps, 1):
            await real.perform(step)
            await fake.perform(step)
            if not await _equal(fake, real):
                return Difference(seed, steps[:number], fake.observe(), real.observe())
            fake.forget_calls()
            real.forget_calls()
    return None


async def _equal(fake: Side, real: Side) -> bool:
    """Return whether both sides settle in the same state."""
    end = time.monotonic() + _EQUAL_WITHIN
    while time.monotonic() < end:
        before = fake.observe()
        equal = before == real.observe()
        for side in (fake, real, fake, real):
            await side.beat()
        if equal and before == fake.observe() == real.observe():
            return True
    return False


def _kubelet(process: type[KubeletProcess]) -> type[FakeKubelet]:
    return type("Kubelet", (FakeKubelet,), {"process_type": process})


def _plugins(version: str) -> Sequence[str]:
    """Return a script's plugins: from 1.37 on, no third one, since a kubelet replaces a lost one with any other."""
    return [name for name in PLUGINS if version < "1.37" or name != "a-third"]


def _ways(version: str) -> Sequence[str]:
    """Return the ways to register, for 1.34 without "given up", since it completes such a registration."""
    return [way for way in WAYS if version >= "1.35" or way != "given up"]


@asynccontextmanager
async def _side(kubelet: type[FakeKubelet], behaves_like: str = "1.36") -> AsyncIterator[Side]:
    root = Path(tempfile.mkdtemp(prefix="df", dir="/tmp"))  # short, as socket paths must be
    directory = root / "device-plugins"
    side = Side(kubelet(directory, distinguishes_sockets=behaves_like >= "1.37"), directory)
    try:
        yield side
    finally:
        await side.end()
        remove_tree(root)
