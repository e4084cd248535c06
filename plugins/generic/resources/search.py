"""Find the hardware that a resource consists of."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from hub import Host
from plugins.generic.discovery.files import device_file, find_files, resolve
from plugins.generic.discovery.selection import Criteria
from plugins.generic.discovery.sysfs import SysDevice, Sysfs, usb_file
from plugins.generic.discovery.vfio import CONTROL, group_of
from plugins.generic.resources.found import Found, GivenFile, Search
from plugins.generic.resources.groups import search_group
from plugins.generic.settings import Group, PciSelector, Resource, SysfsSelector, UsbSelector, plain_hex

_Selector = UsbSelector | PciSelector | SysfsSelector


def search(host: Host, sysfs: Sysfs, resource: Resource) -> Search:
    """Find the hardware of a resource."""
    result = Search()
    _search_files(host, sysfs, resource, result)
    for group in resource.groups:
        if group.usb:
            _search_usb_group(host, sysfs, resource, group, result)
        else:
            search_group(host, sysfs, group, result)
    _search_hardware(host, sysfs, resource, result)
    return result


def _search_files(host: Host, sysfs: Sysfs, resource: Resource, result: Search) -> None:
    known: dict[str, str] = {}
    for pattern in resource.files:
        files = list(find_files(host, sysfs, pattern))
        if not files:
            result.missing.append(f"no file matches {pattern}")
        for file in files:
            first = known.get(file.target)
            if not file.target.startswith("/dev/") and host.path(file.target).is_file():
                # A container with this file as a device would not start.
                result.excluded[file.path] = "it is not a device file: list it under mounts instead"
            elif first is None:
                known[file.target] = file.path
                given = GivenFile(file, resource.container_path, resource.permissions)
                result.found.append(Found(file.key, (given,), file.device))
            elif first != file.path:
                result.excluded[file.path] = f"it is the same file as {first}, which comes first"


def _search_usb_group(host: Host, sysfs: Sysfs, resource: Resource, group: Group, result: Search) -> None:
    """Find the one device that all selected USB devices form together."""
    chosen: dict[str, SysDevice] = {}
    for selector in group.usb:
        devices = list(_usb_devices(sysfs, selector))
        chosen.update({device.name: device for device in devices})
        if not devices:
            result.missing.append(_nothing("USB device", selector))
    if chosen:
        files = tuple(_given_file(host, sysfs, path, resource) for path in map(usb_file, chosen.values()) if path)
        result.found.append(Found("+".join(chosen), files, next(iter(chosen.values())), group.count))


def _search_hardware(host: Host, sysfs: Sysfs, resource: Resource, result: Search) -> None:
    seen = set()
    selectors: list[_Selector] = [*resource.usb, *resource.pci, *resource.sysfs]
    for selector in selectors:
        devices = list(_selected(host, sysfs, selector))
        if not devices:
            result.missing.append(_nothing(_KINDS[type(selector)], selector))
        for device in devices:
            if device.path in seen:
                continue
            seen.add(device.path)
            if resource.vfio and isinstance(selector, PciSelector):
                _add_vfio(host, sysfs, device, result)
            else:
                _add_hardware(host, sysfs, resource, device, result)


def _add_hardware(host: Host, sysfs: Sysfs, resource: Resource, device: SysDevice, result: Search) -> None:
    paths = _nodes(resource, device)
    given = (_given_file(host, sysfs, path, resource) for path in paths if host.path(path).exists())
    files = tuple(given)
    if resource.nodes and not files:
        result.excluded[device.name] = f"it has no device file that matches {', '.join(resource.nodes)}"
    elif not (files or resource.env or resource.mounts or resource.annotations or resource.cdi):
        result.excluded[device.name] = "it has no device files, and the settings give containers nothing else"
    else:
        physical = device.name if device.is_usb or device.is_pci or not files else ""
        result.found.append(Found(_hardware_key(sysfs, device), files, device, physical=physical))


def _add_vfio(host: Host, sysfs: Sysfs, device: SysDevice, result: Search) -> None:
    group = group_of(device)
    if group is None:
        result.excluded[device.name] = "it has no IOMMU group: the IOMMU is off, or the driver vfio-pci is not bound"
        return
    first = next(iter(group.functions), None)
    is_bridge = device.name not in {each.name for each in group.functions}
    if first is None or is_bridge or any(each.key == first.name for each in result.found):
        return
    missing = [path for path in (group.file, CONTROL) if not host.path(path).exists()]
    problem = group.problem or (f"{missing[0]} does not exist" if missing else "")
    if problem:
        result.excluded[device.name] = problem
        return
    files = tuple(_given_file(host, sysfs, path) for path in (group.file, CONTROL))
    functions = tuple(each.name for each in group.functions)
    result.found.append(Found(first.name, files, first, physical=first.name, functions=functions))


def _nodes(resource: Resource, device: SysDevice) -> list[str]:
    """Return those device files of a device that containers get."""
    own = usb_file(device) if device.is_usb else device.file
    if not resource.nodes:
        return [own] if own else device.device_files
    found = {path.removeprefix("/dev/"): path for path in dict.fromkeys([*filter(None, [own]), *device.device_files])}
    return [path for name, path in found.items() if any(fnmatchcase(name, pattern) for pattern in resource.nodes)]


def _given_file(host: Host, sysfs: Sysfs, path: str, resource: Resource | None = None) -> GivenFile:
    file = device_file(sysfs, path, resolve(host, path))
    return GivenFile(file, resource.container_path, resource.permissions) if resource else GivenFile(file)


def _hardware_key(sysfs: Sysfs, device: SysDevice) -> str:
    if device.is_usb or device.is_pci or not device.file:
        return device.name
    return device_file(sysfs, device.file).key


def _selected(host: Host, sysfs: Sysfs, selector: _Selector) -> Iterator[SysDevice]:
    if isinstance(selector, UsbSelector):
        return _usb_devices(sysfs, selector)
    if isinstance(selector, PciSelector):
        return _functions(sysfs, selector)
    wanted = Criteria(selector.kernel, selector.driver, selector.attributes, selector.parents, selector.properties)
    return (device for device in sysfs.subsystem(selector.subsystem) if wanted.matches(host, device))


def _usb_devices(sysfs: Sysfs, selector: UsbSelector) -> Iterator[SysDevice]:
    wanted = {"idVendor": selector.vendor, "idProduct": selector.product}
    for device in sysfs.bus("usb"):
        if (
            device.is_usb
            and selector.port in {"", device.name}
            and (not selector.serial or device.text("serial") == selector.serial)
            and all(device.text(name) == plain_hex(value) for name, value in wanted.items() if value)
        ):
            yield device


def _functions(sysfs: Sysfs, selector: PciSelector) -> Iterator[SysDevice]:
    for device in sysfs.bus("pci"):
        wanted = {"vendor": selector.vendor, "device": selector.device}
        if (
            selector.address in {"", device.name}
            and (not selector.driver or device.driver == selector.driver)
            and all(plain_hex(device.text(name)) == plain_hex(value) for name, value in wanted.items() if value)
            and plain_hex(device.text("class")).startswith(plain_hex(selector.class_ or ""))
        ):
            yield device


_KINDS = {UsbSelector: "USB device", PciSelector: "PCI function", SysfsSelector: "device in sysfs"}


def _nothing(kind: str, selector: _Selector) -> str:
    """Return a message that a selector matches nothing, with the keys that are set."""
    keys = {name.removesuffix("_"): getattr(selector, name) for name in selector.__struct_fields__}
    return f"no {kind} has {', '.join(f'{name} {value}' for name, value in keys.items() if value)}"
