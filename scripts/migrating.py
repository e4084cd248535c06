"""Generate docs/migrating-cases.md, which compares the results of other plugins with ours, case by case.

`python -m scripts.migrating` writes it; with `--check` it fails if the committed page differs. The cases are the files
in tests/unit/migrating/cases, which the tests there run.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "migrating-cases.md"
CASES = ROOT / "tests" / "unit" / "migrating"

HEAD = """\
# Migration comparison, case by case

This page compares what other device plugins do, case by case, with what ours do. The cases follow the code and the
tests of the other plugins. Each case is a test in this repository, so this page always matches the code.
`python -m scripts.migrating` generates it from the files in tests/unit/migrating. How to migrate is
described in [Migrating](migrating.md).

In the results, `0` is the first GPU, `0:1` the second MIG device or partition on it, and `0::1` the second share of it.
`exits`: the plugin exits with an error, and is restarted. `rejected`: the settings are an error, and nothing is served.
`failed`: the admission of the pod fails.
"""

NOT_YET = "not yet"


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Settings and hardware, and the results of two plugins with them."""

    case: str
    """The subject of the case, unique in its file."""
    theirs: Any
    """The result of the other plugin."""
    set: Any = None
    """The configuration file: its content, or its text."""
    env: dict[str, str] = {}
    """Environment variables."""
    hardware: str = ""
    """The hardware, by its name in hardware.yaml."""
    request: Any = None
    """The request to the plugin."""
    ours: Any = None
    """The hub's result, if it differs."""
    because: str = ""
    """Why it differs."""


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cases that are run in the same way."""

    title: str
    kind: str
    """How the cases are run: a function of tests/unit/migrating."""
    source: str
    """The other plugin's files from which the results are taken."""
    cases: tuple[Case, ...]
    text: str = ""
    """What readers need to know to understand the results."""
    hardware: str = ""
    """The hardware of cases that do not name any."""


class Peer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file with the cases of another plugin."""

    peer: str
    """The name of the plugin."""
    version: str
    groups: tuple[Group, ...]


class Hardware(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """hardware.yaml: nodes by name, as the simulators build them."""

    gpu: dict[str, dict[str, Any]]
    rdma: dict[str, dict[str, Any]]
    amd: dict[str, dict[str, Any]]
    intel: dict[str, dict[str, Any]]
    generic: dict[str, dict[str, Any]]


class LoadedCases(msgspec.Struct, frozen=True):
    """All cases."""

    peers: Mapping[str, Peer]
    """Keyed by the stem of the file."""
    not_yet: Mapping[str, Mapping[str, Any]]
    """The hub's results that will match those of the other plugin later, keyed by the stem of the file and the case."""
    hardware: Hardware


def load_cases(directory: Path = CASES) -> LoadedCases:
    """Read all cases, including the results that differ only for now."""
    not_yet = yaml.safe_load((directory / "not_yet.yaml").read_text(encoding="utf-8")) or {}
    peers = {
        path.stem: _with_not_yet(_read(path, Peer), not_yet.get(path.stem, {}))
        for path in sorted((directory / "cases").glob("*.yaml"))
    }
    return LoadedCases(peers, not_yet, _read(directory / "hardware.yaml", Hardware))


def _read(path: Path, kind: type[Any]) -> Any:  # noqa: ANN401 - a value of the kind
    try:
        return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), kind)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise SystemExit(f"{path}: {error}") from None


def _with_not_yet(peer: Peer, not_yet: Mapping[str, Any]) -> Peer:
    return msgspec.structs.replace(
        peer,
        groups=tuple(
            msgspec.structs.replace(
                group,
                cases=tuple(
                    msgspec.structs.replace(case, ours=not_yet[case.case], because=NOT_YET)
                    if case.case in not_yet
                    else case
                    for case in group.cases
                ),
            )
            for group in peer.groups
        ),
    )


def make_page(loaded: LoadedCases) -> str:
    """Return the whole page."""
    peers: dict[str, list[Group]] = {}
    for peer in loaded.peers.values():
        peers.setdefault(f"{peer.peer} {peer.version}", []).extend(peer.groups)
    parts = [HEAD, _summary(peers)]
    for name, groups in peers.items():
        parts.append(f"## {name}\n")
        for group in groups:
            parts += [f"### {group.title}\n", _introduction(group), _table(_rows(group))]
    return "\n".join(part for part in parts if part)


def _summary(peers: Mapping[str, Sequence[Group]]) -> str:
    rows = [("cases of", "all", "same", "different")]
    for name, groups in peers.items():
        kinds = Counter("different" if case.because else "same" for group in groups for case in group.cases)
        rows.append((name, str(kinds.total()), str(kinds["same"]), str(kinds["different"])))
    return _table(rows)


def _introduction(group: Group) -> str:
    nodes = {case.hardware or group.hardware for case in group.cases} - {""}
    hardware = f"Hardware: {', '.join(nodes)}." if len(nodes) == 1 else ""
    source = ", ".join(f"`{name}`" for name in re.split(r",\s*", group.source))
    return " ".join(part for part in (group.text, hardware, f"Source: {source}.\n") if part)


def _rows(group: Group) -> Iterator[tuple[str, ...]]:
    hardware = [case.hardware or group.hardware for case in group.cases]
    columns = {
        "case": [case.case for case in group.cases],
        "settings": [_setting(case) for case in group.cases],
        "hardware": hardware if len(set(hardware)) > 1 else [""],
        "request": [_code(case.request) for case in group.cases],
        "other plugin": [_code(case.theirs) for case in group.cases],
        "hub": [_here(case) for case in group.cases],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    yield tuple(shown)
    yield from zip(*shown.values(), strict=True)


def _here(case: Case) -> str:
    if not case.because:
        return "same"
    return f"{_code(case.ours)}, " + ("not yet the same" if case.because == NOT_YET else f"because {case.because}")


def _setting(case: Case) -> str:
    env = [f"`{name}={value}`" for name, value in case.env.items()]
    return " ".join([*([_code(case.set)] if case.set is not None else []), *env])


def _code(value: object) -> str:
    """Return a value as code on one line."""
    if value is None:
        return ""
    if isinstance(value, str):
        text = value.strip("\n").replace("\n", "⏎")
    else:
        text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False).removesuffix("\n...\n")
        text = text.strip()
        text = text[1:-1] if isinstance(value, dict) and value else text
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}" if text else "an empty file"


def _table(rows: Sequence[tuple[str, ...]] | Iterator[tuple[str, ...]]) -> str:
    head, *rest = rows
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", r"\|") for cell in row) for row in rest)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace("| --- |", "|---|").replace(" --- |", "---|")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail on a difference")
    page = make_page(load_cases())
    if not parser.parse_args(arguments).check:
        TARGET.write_text(page, encoding="utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == page:
        return 0
    print(f"{TARGET}: differs from the cases; run python -m scripts.migrating", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
