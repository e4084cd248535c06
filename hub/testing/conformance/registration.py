"""Rules about the registration of a plugin with the kubelet."""

from hub.base.paths import KUBELET_SOCKET
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.conformance.calls import Answer, answer_of
from hub.testing.conformance.rule import Findings, Level, NotApplicable, rule
from hub.testing.conformance.subject import Subject
from hub.testing.kubelet import Registered

_SERVER = "kubelet, pkg/kubelet/cm/devicemanager/plugin/v1beta1/server.go, Register"
_CLIENT = "kubelet, pkg/kubelet/cm/devicemanager/plugin/v1beta1/client.go, dial"
_MANAGER = "kubelet, pkg/kubelet/cm/devicemanager/manager.go"

_REJECTED_VERSION = "requested API version "
_REJECTED_NAME = "the ResourceName "
_NOT_DIALED = "failed to dial device plugin"
_NO_OPTIONS = "failed to get device plugin options"
"""How the kubelet's errors begin."""

_RULED = (_REJECTED_VERSION, _REJECTED_NAME, _NOT_DIALED, _NO_OPTIONS)
"""Errors that have a rule of their own."""


async def first_registrations(subject: Subject) -> list[Registered]:
    """Return the calls to Register up to the first response; none if no call is answered in time."""
    await subject.until(lambda: subject.registrations(1), subject.limits.start)
    return subject.registrations(1)


async def options(subject: Subject) -> Answer[wire.DevicePluginOptions]:
    """Return the plugin's options."""
    async with subject.connect() as stub:
        return await answer_of(stub.GetDevicePluginOptions(wire.Empty(), timeout=subject.limits.answer))


async def require_option(subject: Subject, name: str) -> None:
    """Check that the plugin has an option set.

    Raises:
        NotApplicable: it has not, or does not answer.
    """
    found = (await subject.once(options)).message
    if found is None:
        raise NotApplicable("its options are unknown: see the rule options-answered")
    if not getattr(found, name):
        raise NotApplicable(f"its options have {name} = false, so the kubelet never calls this")


@rule(
    "registers",
    Level.MUST,
    "It registers its resource with the kubelet.",
    reason="The kubelet does not discover plugins on its own. Without a registration, the node has no such resource.",
    source=_SERVER,
)
async def registers(subject: Subject) -> Findings:
    """Wait for the first call."""
    found = await subject.once(first_registrations)
    for each in found:
        if each.error and not each.error.startswith(_RULED):
            yield f"the kubelet rejected {each.resource}: {each.error}"
    if not found:
        yield _missing(subject)


def _missing(subject: Subject) -> str:
    others = {each.resource for each in subject.kubelet.registrations}
    text = f"it did not register {subject.resource or 'a resource'}"
    text += f", only {', '.join(sorted(others))}" if others else ""
    text += f": {subject.exit}" if subject.exit else f" within {subject.limits.start:g} s"
    lines = subject.command.last_lines() if subject.has_command else []
    return f"{text}; its last output: {' | '.join(lines)}" if lines else text


@rule(
    "api-version",
    Level.MUST,
    'It registers with the version "v1beta1".',
    reason="The kubelet supports this version only, and rejects the registration otherwise.",
    source=_SERVER,
)
async def api_version(subject: Subject) -> Findings:
    """Look for a rejection."""
    for error in await _rejections(subject, _REJECTED_VERSION):
        yield error


@rule(
    "resource-name",
    Level.MUST,
    "Its resource name is a valid extended resource name: a domain other than kubernetes.io, a slash, and 1 to 63 "
    "letters, digits, dashes, underscores or dots.",
    reason="The kubelet rejects the registration otherwise, and no pod could request the resource.",
    source="kubelet, pkg/apis/core/v1/helper/helpers.go, IsExtendedResourceName",
)
async def resource_name(subject: Subject) -> Findings:
    """Look for a rejection."""
    for error in await _rejections(subject, _REJECTED_NAME):
        yield error


@rule(
    "endpoint-name",
    Level.MUST,
    "It registers the file name of its socket in the plugin directory, not a path.",
    reason="The kubelet appends the endpoint to its plugin directory, even an absolute path, and finds no socket "
    "there.",
    source=_SERVER,
)
async def endpoint_name(subject: Subject) -> Findings:
    """Check the endpoints."""
    for each in await subject.once(first_registrations):
        if not each.endpoint or "/" in each.endpoint or each.endpoint in {KUBELET_SOCKET, ".", ".."}:
            yield f"the endpoint is {each.endpoint!r}, expected a file name such as my-plugin.sock"
        elif (subject.plugin_dir / each.endpoint).is_symlink():
            yield f"{each.endpoint!r} is a link, expected the socket itself"


@rule(
    "serves-before-registering",
    Level.MUST,
    "It serves on its socket before it registers.",
    reason="Before it answers, Register connects to the plugin's socket, and fails if nothing accepts the connection "
    "within 10 s. A plugin that first waits for the response deadlocks.",
    source=_CLIENT,
)
async def serves_before_registering(subject: Subject) -> Findings:
    """Look for a registration that failed."""
    for error in await _rejections(subject, _NOT_DIALED):
        yield f"nothing answered on its socket while it registered ({error})"


@rule(
    "options-answered",
    Level.MUST,
    "GetDevicePluginOptions returns a response, even if all options are false.",
    reason="Register makes this call before it returns, and fails if the call fails. The options in RegisterRequest "
    "are ignored.",
    source=f"{_MANAGER}, PluginConnected",
)
async def options_answered(subject: Subject) -> Findings:
    """Look for a registration that failed, then call GetDevicePluginOptions."""
    rejections = await _rejections(subject, _NO_OPTIONS) if subject.has_kubelet else []
    for error in rejections:
        yield error
    if not rejections and (error := (await subject.once(options)).error):
        yield f"GetDevicePluginOptions: {error}"


async def _rejections(subject: Subject, beginning: str) -> list[str]:
    """Return the kubelet's errors of one kind."""
    found = await subject.once(first_registrations)
    if not found:
        raise NotApplicable("it does not register: see the rule registers")
    return [each.error for each in found if each.error.startswith(beginning)]


RULES = (
    registers,
    api_version,
    resource_name,
    endpoint_name,
    serves_before_registering,
    options_answered,
)
