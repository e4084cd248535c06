"""Groups: files that together form one device."""

from collections.abc import Iterator, Sequence

from hub import Host
from plugins.generic.discovery.files import DeviceFile, find_files, has_wildcard, matched_by_wildcard
from plugins.generic.discovery.sysfs import Sysfs, hardware
from plugins.generic.resources.found import Found, GivenFile, Search
from plugins.generic.settings import Group, GroupFile, Pairing

_Matches = Sequence[tuple[GroupFile, Sequence[DeviceFile]]]
"""The files of a group that exist, by their settings."""


def search_group(host: Host, sysfs: Sysfs, group: Group, result: Search) -> None:
    """Find the devices of a group of files."""
    matches = [(file, list(find_files(host, sysfs, file.path))) for file in group.files]
    result.missing += [f"no file matches {file.path}" for file, files in matches if not files and not file.optional]
    if not all(files or file.optional for file, files in matches):
        return
    present = [(file, files) for file, files in matches if files]
    if not present:
        result.missing.append(f"none of the optional files exists: {', '.join(file.path for file in group.files)}")
        return
    pairs = _by_order(present) if group.pairing is Pairing.ORDER else _by_name(group, present, result)
    result.found += (each._replace(uses=group.count) for each in pairs)


def _by_order(matches: _Matches) -> Iterator[Found]:
    """Pair the first matches, the second ones and so on, as often as the shortest list allows."""
    repeated = [list(files) * file.limit for file, files in matches]
    longest = max(len(files) for _, files in matches)
    for number in range(min(longest, *map(len, repeated))):
        files = [(file, each[number]) for (file, _), each in zip(matches, repeated, strict=True)]
        keys = [each for file, each in files if not file.optional] or [files[0][1]]
        yield _found(_joined(keys), [_given(file, each) for file, each in files])


def _by_name(group: Group, matches: _Matches, result: Search) -> Iterator[Found]:
    """Pair the files with the same text, or the same hardware; a file without either belongs to every device."""
    by_place = [(file, _by_place(group, file, files)) for file, files in matches]
    names = dict.fromkeys(name for _, places in by_place for name in places)
    for name in [name for name in names if name] or [""]:
        own = [(file, each) for file, places in by_place for each in places.get(name, [])]
        chosen = [
            (file, [each for place in dict.fromkeys([name, ""]) for each in places.get(place, [])])
            for file, places in by_place
        ]
        absent = [file.path for file, files in chosen if not files and not file.optional]
        if absent:
            result.excluded[own[0][1].path] = f"no file that matches {absent[0]} belongs to it"
            continue
        keys = [each for file, each in own if not file.optional] or [own[0][1]]
        key = name if name and group.pairing is Pairing.HARDWARE else _joined(keys[:1] if name else keys)
        yield _found(key, [_given(file, each) for file, files in chosen for each in files])


def _by_place(group: Group, file: GroupFile, files: Sequence[DeviceFile]) -> dict[str, list[DeviceFile]]:
    places: dict[str, list[DeviceFile]] = {}
    for each in files:
        places.setdefault(_place(group, file, each), []).append(each)
    return places


def _place(group: Group, file: GroupFile, found: DeviceFile) -> str:
    if group.pairing is Pairing.HARDWARE:
        owner = hardware(found.device)
        return owner.name if owner else ""
    return matched_by_wildcard(file.path, found.path) if has_wildcard(file.path) else ""


def _given(file: GroupFile, found: DeviceFile) -> GivenFile:
    return GivenFile(found, file.container_path, file.permissions, file.mount, file.read_only)


def _found(key: str, files: Sequence[GivenFile]) -> Found:
    device = next((given.file.device for given in files if given.file.device), None)
    return Found(key, tuple(files), device)


def _joined(files: Sequence[DeviceFile]) -> str:
    """Join the keys of files; a part that they have in common appears only once."""
    names: dict[str, dict[str, None]] = {}
    for file in files:
        place, dash, name = file.key.rpartition("-") if file.device and hardware(file.device) else ("", "", file.key)
        names.setdefault(place + dash, {})[name] = None
    return "+".join(place + "+".join(each) for place, each in names.items())
