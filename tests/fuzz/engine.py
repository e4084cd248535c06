"""The fuzzer: it runs a target with random inputs, and keeps those that cause a problem.

Hypothesis makes random recipes and shortens those that fail; `choices` turns each into an input. Inputs come in
batches, each with a seed of its own, because Hypothesis remembers all inputs of a run, which would take ever more
memory.

Atheris was considered. Its guidance by coverage sees Python code only, while most of what reads input here is compiled
(msgspec, protobuf, gRPC). It needs a process for each target, shortens no structured input, and is another 37 MB to
install, where other tests already use Hypothesis.
"""

import time
import traceback
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import msgspec
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis import strategies as st

from tests.fuzz.choices import Choices
from tests.fuzz.guard import Growth, Guard, Hang, resident_bytes
from tests.fuzz.pieces import Input, Piece
from tests.fuzz.target import Target

BATCH = 250
"""The number of inputs with one seed."""

TRIES = 200
"""How many shorter inputs that still fail are tried for one finding."""

GROWTH_BYTES = 128 * 1024 * 1024
"""How much the memory of a process may grow over all inputs after the first batch."""

_PROJECT = Path(__file__).parents[2]


class Finding(msgspec.Struct, frozen=True):
    """An input that makes the code fail."""

    target: str
    problem: str
    """The error in one line, with its location."""
    pieces: tuple[Piece, ...]
    is_slow: bool = False
    """Whether the problem is that the input takes a long time or much memory."""
    seed: str = ""
    """The batch in which the input was found."""
    trace: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """The results of the inputs of one target."""

    target: str
    seed: int
    inputs: int
    seconds: float
    cpu: float
    """CPU time of this process in seconds."""
    findings: tuple[Finding, ...]
    times: dict[str, int] = {}
    """How many inputs showed each problem."""


class Fuzzer:
    """A fuzzer of one target.

    Args:
        name: The target's name.
        target: The target.
        seed: The seed of all inputs.
    """

    def __init__(self, name: str, target: Target, seed: int) -> None:
        self._name = name
        self._target = target
        self._seed = seed
        self._guard = Guard()
        self._inputs = 0
        self._findings: dict[str, Finding] = {}
        self._times: dict[str, int] = {}
        self._batch = ""
        self._new: dict[str, Finding] = {}
        self._tries = 0

    def run(self, inputs: int | None = None, seconds: float | None = None) -> Outcome:
        """Consume this many inputs, or consume inputs for this long."""
        began, cpu, before = time.monotonic(), time.process_time(), 0
        self._inputs = batch = 0
        with self._guard.running():
            while self._is_due(inputs, seconds, began):
                self._run_batch(batch, min(BATCH, inputs - self._inputs) if inputs else BATCH)
                batch += 1
                before = before or self._memory()
        if self._memory() - before > GROWTH_BYTES:
            self._keep(Growth(f"memory grew by more than {GROWTH_BYTES >> 20} MiB"), ())
            self._findings |= self._new
        elapsed, used = time.monotonic() - began, time.process_time() - cpu
        return Outcome(self._name, self._seed, self._inputs, elapsed, used, tuple(self._findings.values()), self._times)

    def replay(self, pieces: Input) -> Finding | None:
        """Consume one input again."""
        with self._guard.running():
            return self._consume(pieces)

    def _is_due(self, inputs: int | None, seconds: float | None, began: float) -> bool:
        if inputs is not None:
            return self._inputs < inputs
        return seconds is None or time.monotonic() - began < seconds

    def _memory(self) -> int:
        try:
            return resident_bytes(self._target.server() or "self")
        except FileNotFoundError:
            # The process has exited; the target detects that with any input, and knows more about the reason.
            self._consume([])
            self._findings |= self._new
            return 0

    def _run_batch(self, number: int, inputs: int) -> None:
        self._batch = f"{self._seed}/{self._name}/{number}"
        self._new, self._tries = {}, 0

        @hypothesis.seed(zlib.crc32(self._batch.encode()))
        @hypothesis.settings(
            max_examples=inputs,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            verbosity=Verbosity.quiet,
        )
        @hypothesis.given(st.binary(min_size=12, max_size=48))
        def consume(recipe: bytes) -> None:
            finding = self._consume(self._target.make(Choices(recipe)))
            # Slow inputs are not shortened, since each attempt takes as long.
            if finding and finding.problem not in self._findings and not finding.is_slow and self._tries < TRIES:
                self._tries += 1
                raise _Found(finding.problem)

        with _findings_expected(self._new):
            consume()
        self._findings |= self._new

    def _consume(self, pieces: Input) -> Finding | None:
        """Consume an input; return the finding, or None."""
        self._inputs += 1
        try:
            with self._guard.input():
                self._target.consume(pieces)
        except self._target.declared:
            return None
        except (Exception, Hang) as error:  # noqa: BLE001 - every error is a finding
            return self._keep(error, pieces)
        return None

    def _keep(self, error: BaseException, pieces: Input) -> Finding:
        problem = f"{_place(error)}: {type(error).__name__}"
        if isinstance(error, (AssertionError, Growth)):
            problem = f"{type(error).__name__}: {error}"
        self._times[problem] = self._times.get(problem, 0) + 1
        trace = "".join(traceback.format_exception(error))[-6000:]
        finding = Finding(self._name, problem, tuple(pieces), isinstance(error, (Hang, Growth)), self._batch, trace)
        known = self._new.get(problem)
        if known is None or _size(finding) <= _size(known):
            self._new[problem] = finding
        return finding


class _Found(Exception):
    """An input with a new problem, to be shortened."""


@contextmanager
def _findings_expected(found: dict[str, Finding]) -> Iterator[None]:
    """Ignore the failure of a batch whose problem is already recorded, even if the problem is flaky."""
    try:
        yield
    except (_Found, hypothesis.errors.HypothesisException, BaseExceptionGroup):
        if not found:
            raise


def _size(finding: Finding) -> int:
    return sum(len(piece.text) + 1 for piece in finding.pieces)


def _place(error: BaseException) -> str:
    """Return the innermost line of the project's own code in a traceback."""
    place = ""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(_PROJECT) and path.relative_to(_PROJECT).parts[0] in {"hub", "plugins"}:
            place = f"{path.relative_to(_PROJECT)}:{frame.lineno}"
    return place or "?"
