"""`dphub report`: reports from a program or an administrator that a device cannot be used; see `hub.model.external`."""

import re
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import click

from hub.base.exits import Exit
from hub.cli.adminclient import send
from hub.cli.completing import devices, plugin_option
from hub.cli.options import status_text
from hub.cli.render.text import echo, examples
from hub.cli.target import TargetHub, hub_options
from hub.model.admin import Response
from hub.model.external import NO_SUCH_REPORT, ReportRequest
from hub.status.lookup import UnknownDeviceError

RESPONSE_SECONDS = 10.0
"""The time limit for a response: the hub waits five seconds for a request, and then writes a file."""

_DURATION = re.compile("([0-9]{1,9})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _time(_context: click.Context, _parameter: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise click.BadParameter(f'it is "{text}", expected a time with a time zone, such as 2030-12-31T18:00:00Z')
    return time


def _end(_context: click.Context, _parameter: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    found = _DURATION.fullmatch(text)
    if found is None:
        raise click.BadParameter(f'it is "{text}", expected a number and a unit (s, m, h or d), such as 12h')
    try:
        return datetime.now(UTC) + timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        raise click.BadParameter(f"{text} is too long; without this option, the report does not expire") from None


@click.command(
    epilog=examples(
        'dphub report 0000:1b:00.0 --source memory-test --reason "row 7 is bad"',
        'dphub report stub-1 --source nightly-test --reason "the test failed" --for 12h',
        "dphub report stub-1 --source nightly-test --withdraw",
    )
)
@click.argument("device", shell_complete=devices)
@click.option("--source", required=True, callback=status_text, help="The program that reports it.")
@click.option("--reason", default="", callback=status_text, help="Why the device cannot be used.")
@click.option("--until", metavar="TIME", callback=_time, help="When the report expires, such as 2030-12-31T18:00:00Z.")
@click.option("--for", "end", metavar="DURATION", callback=_end, help="How long until the report expires, such as 90m.")
@click.option("--withdraw", is_flag=True, help="Withdraw this source's report about this device.")
@plugin_option
@hub_options
def report(
    device: str,
    *,
    source: str,
    reason: str,
    until: datetime | None,
    end: datetime | None,
    withdraw: bool,
    plugin: str | None,
    hub: TargetHub,
) -> None:
    """Report that DEVICE cannot be used: within five seconds it is unhealthy. Containers that use it keep it.

    A report can only make a device unhealthy. It ends when the same source withdraws it, when it expires, or with a
    reboot; a new report by the same source about the same device replaces it. DEVICE is named as for dphub cordon;
    naming a device that no plugin has is an error, except with --withdraw.
    """
    if not source.strip():
        raise click.BadParameter("it is empty", param_hint="--source")
    if withdraw == bool(reason.strip()):
        raise click.UsageError("expected either --reason, which must not be empty, or --withdraw")
    if (until is not None) + (end is not None) + withdraw > 1:
        raise click.UsageError("--until, --for and --withdraw cannot be combined")
    if withdraw:
        response = _withdraw(hub, device, source, plugin)
    else:
        _, name = hub.find_device(device, plugin)
        response = _send(hub, ReportRequest(name, source, reason, until or end))
    echo(f"{device}: {response.message}", error=not response.ok)
    sys.exit(Exit.OK if response.ok else Exit.FAILED)


def _withdraw(hub: TargetHub, device: str, source: str, plugin: str | None) -> Response:
    """Withdraw a report, which may name the device by its key, or as the user typed it."""
    names = [device]
    # The device may be gone while its report still exists.
    with suppress(UnknownDeviceError):
        names.insert(0, hub.find_device(device, plugin)[1])
    responses = [_send(hub, ReportRequest(name, source, withdraw=True)) for name in dict.fromkeys(names)]
    return next((each for each in responses if each.message != NO_SUCH_REPORT), responses[0])


def _send(hub: TargetHub, request: ReportRequest) -> Response:
    return send(hub.run_dir.external_socket, request, RESPONSE_SECONDS, server="the hub")
