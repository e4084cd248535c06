"""`python -m hub.plugin MODULE:CLASS`: run one plugin."""

import argparse
import asyncio
import contextlib
import faulthandler
import os
import re
import signal
import sys
from pathlib import Path

from hub.api.host import Host
from hub.api.runtime import Runtime
from hub.base.clibrary import skip_c_library_search
from hub.base.errors import ConfigError, HubError
from hub.base.exits import Exit
from hub.base.featurefiles import FEATURES_VARIABLE
from hub.base.jsonfile import digest
from hub.base.log import LogFormat, LogLevel, configure, get_logger
from hub.base.nodedir import NODE_DIR
from hub.base.paths import EXTERNAL_DIR, INSTANCE, INSTANCE_NAME, KUBELET_SOCKET, PLUGIN_DIR, SERVING_DIR, RunDir
from hub.base.removal import clear_path, make_directory
from hub.base.sockets import kubelet_identity
from hub.model.heartbeat import STACK_SIGNAL, WATCHDOG_VARIABLE
from hub.model.plugin import DRIVER_VARIABLE, EVICT_VARIABLE, ConfigFile


def main() -> int:
    """Read the command line and serve."""
    # SIGHUP's default action is to terminate the process; the signal is unblocked once its handler is set.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    # The hub has already set this umask for its plugins. It determines the permissions of sockets.
    os.umask(0o077)
    skip_c_library_search()
    options = _parse()
    configure(LogLevel.INFO, LogFormat.AUTO, plugin=options.name)
    try:
        if not options.check:
            # Before anything, such as the log, is written to the run directory.
            _check(options)
        # Configured once more, now with the environment's settings, which may be invalid.
        configure(plugin=options.name, keep=_log_file(options))
        return _report(options) if options.check else _serve(options)
    except HubError as error:
        get_logger().error("plugin not started", reason=str(error))
        return Exit.USAGE
    except Exception as error:  # noqa: BLE001 - the last place that can log it
        from hub.base.failures import explain  # noqa: PLC0415 - as below

        get_logger().exception("plugin crashed", reason=explain(error))
        return Exit.FAILED


def _parse() -> argparse.Namespace:
    # argparse, since this command is not meant for interactive use, and click would cost each plugin 3 MB.
    parser = argparse.ArgumentParser(
        prog="python -m hub.plugin", description="Run one device plugin.", allow_abbrev=False, exit_on_error=False
    )
    parser.add_argument("plugin", metavar="MODULE:CLASS", help="the plugin, for example plugins.stub:Stub")
    parser.add_argument("--config", type=Path, help="the plugin's configuration file (YAML or JSON)")
    parser.add_argument(
        "--name",
        default=os.environ.get("DPHUB_PLUGIN"),
        help="the plugin's name; by default, the class name in lower case",
    )
    _add_directories(parser)
    _add_check_options(parser)
    if any(_HELP_WITH_VALUE.match(word) for word in sys.argv[1:]):
        # From Python 3.12 on, argparse would show the help, and ignore the rest of the word.
        problem = "-h/--help: takes no value"
        parser.error(problem)
    try:
        options, unknown = parser.parse_known_args()
    except argparse.ArgumentError as error:
        # The error would quote the value given to a flag that takes none: see `_without_values`.
        problem = str(error) if "explicit argument" not in error.message else f"{error.argument_name}: takes no value"
        parser.error(problem)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(_without_values(unknown))}")
    # Resets run in processes with a different working directory.
    options.host_root = options.host_root.absolute()
    options.instance = os.environ.get("DPHUB_INSTANCE", INSTANCE)
    options.name = options.name or options.plugin.rpartition(":")[2].lower()
    return options


def _add_directories(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plugin-dir",
        type=Path,
        default=os.environ.get("DPHUB_PLUGIN_DIR", PLUGIN_DIR),
        help="the kubelet's plugin directory",
    )
    parser.add_argument(
        "--run-dir",
        type=Path,
        default=os.environ.get("DPHUB_RUN_DIR") or None,
        help="where to write reports; by default none are written",
    )
    parser.add_argument(
        "--host-root",
        type=Path,
        default=os.environ.get("DPHUB_HOST_ROOT", "/"),
        help="where this process finds the node's file system",
    )
    parser.add_argument(
        "--features-dir",
        type=Path,
        default=os.environ.get(FEATURES_VARIABLE) or None,
        help="where Node Feature Discovery reads node labels; by default none are written",
    )


_HELP_WITH_VALUE = re.compile(r"-h.")

_FLAG = re.compile(r"--[a-z][a-z0-9_-]*|-[a-z]", re.ASCII | re.IGNORECASE)


def _without_values(words: list[str]) -> list[str]:
    """Return the flags among these words: values may be passwords, and any user can read the error in the status."""
    # A flag and its value may be one word, if both are inside one pair of quotes.
    flags = (_FLAG.match(word) for word in words)
    return [flag[0] if flag else "..." for flag in flags]


def _add_check_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--check", action="store_true", help="only report, as JSON, the mistakes in the plugin and its configuration"
    )
    parser.add_argument("--scan", action="store_true", help="with --check: also scan its devices once")
    parser.add_argument(
        "--migrating", action="store_true", help="with --check: what changes for users of another plugin"
    )
    parser.add_argument(
        "--hardware", action="store_true", help="with --check: only list the node's hardware that the plugin supports"
    )
    parser.add_argument(
        "--shipped-only",
        action="store_true",
        help="with --check: load only plugins that come with the hub, and do not scan",
    )


def _check(options: argparse.Namespace) -> None:
    """Reject paths that are not directories, and a run directory that other users can write to or replace.

    The plugin directory may appear later.
    """
    if options.plugin_dir.exists() and not options.plugin_dir.is_dir():
        raise ConfigError(options.plugin_dir, "not a directory, expected the kubelet's plugin directory")
    for path, purpose in ((options.run_dir, "the hub's run directory"), (options.host_root, "the node's file system")):
        if path is not None and not path.is_dir():
            raise ConfigError(path, f"not a directory, expected {purpose}")
    if options.run_dir is not None:
        RunDir(options.run_dir, options.instance).secure()
    if not INSTANCE_NAME.fullmatch(options.instance):
        raise ConfigError("DPHUB_INSTANCE", f'is "{options.instance}", expected lower-case letters, digits and "-"')


def _report(options: argparse.Namespace) -> int:
    """Write the report of a check to standard output; what the plugin prints goes to standard error."""
    import msgspec  # noqa: PLC0415 - as below

    from hub.model.check import CheckReport  # noqa: PLC0415 - as below
    from hub.plugin.selfcheck import check_plugin, check_shipped_plugin, find_hardware  # noqa: PLC0415 - as below

    # A check changes nothing: it does not even write bytecode next to the plugin's modules.
    sys.dont_write_bytecode = True
    result = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    host = Host(options.host_root)
    if not options.host_root.is_dir():
        report = CheckReport((f"{options.host_root} is not a directory, expected the node's file system",))
    elif options.hardware:
        report = find_hardware(options.plugin, host, shipped_only=options.shipped_only)
    elif options.shipped_only:
        report = check_shipped_plugin(options.plugin, options.config, host)
    else:
        report = check_plugin(
            options.plugin, options.config, host, with_devices=options.scan, migrating=options.migrating
        )
    with os.fdopen(result, "wb") as file:
        file.write(msgspec.json.encode(report))
    return Exit.USAGE if report.problems else Exit.OK


def _serve(options: argparse.Namespace) -> int:
    # Imported late, so that a wrong flag is rejected without the 40 ms that importing gRPC takes.
    from hub.plugin.files import PluginFiles  # noqa: PLC0415 - see above
    from hub.plugin.loading import load_plugin, make_plugin, settings_path  # noqa: PLC0415 - see above
    from hub.plugin.process import PluginProcess  # noqa: PLC0415 - see above

    watchdog = _watchdog()
    run_dir = RunDir(options.run_dir or Path(), options.instance)
    if options.run_dir is not None:
        _write_stacks_to(run_dir.stack(options.name))
    plugin_class = load_plugin(options.plugin)
    config = settings_path(plugin_class, options.config)
    # The digest is taken before the file is read: if the file changes in between, it counts as changed.
    read = ConfigFile(str(config.absolute()), digest(config)) if config else None
    plugin, warnings = make_plugin(plugin_class, options.config, Host(options.host_root), _runtime(options))
    for warning in warnings:
        get_logger().warning("suspicious plugin class", reason=warning)
    for note in plugin.notes:
        get_logger().warning("suspicious setting", reason=note)

    _log_missing_kubelet(options.plugin_dir)

    async def serve() -> Exit:
        files = PluginFiles(
            options.name,
            run_dir,
            exists=options.run_dir is not None,
            features_dir=options.features_dir,
            driver=os.environ.get(DRIVER_VARIABLE, ""),
            evict=os.environ.get(EVICT_VARIABLE) == "true",
        )
        return await PluginProcess(plugin, options.plugin_dir, files, watchdog=watchdog, config=read).serve()

    return asyncio.run(serve())


def _log_missing_kubelet(plugin_dir: Path) -> None:
    """If no directory was named and the default one has no kubelet, log how to choose another one."""
    is_named = plugin_dir != PLUGIN_DIR or "DPHUB_PLUGIN_DIR" in os.environ
    if not (is_named or kubelet_identity(plugin_dir / KUBELET_SOCKET)):
        todo = "choose another plugin directory with --plugin-dir or DPHUB_PLUGIN_DIR"
        get_logger().info("waiting for kubelet", detail=f"there is no kubelet at {plugin_dir}; {todo}")


def _runtime(options: argparse.Namespace) -> Runtime:
    if options.run_dir is None:
        return Runtime()
    for name in (NODE_DIR, SERVING_DIR):
        make_directory(options.run_dir / name)
    # A plugin can serve without this directory.
    with contextlib.suppress(OSError):
        make_directory(options.run_dir / EXTERNAL_DIR)
    return Runtime(str(options.run_dir.absolute()), options.instance, options.name)


def _log_file(options: argparse.Namespace) -> Path | None:
    """Return the file for the latest log lines, next to the report; None if there is no directory for it."""
    if options.check or options.run_dir is None or not options.run_dir.is_dir():
        return None
    return RunDir(options.run_dir, options.instance).log(options.name)


def _watchdog() -> float:
    """Return the seconds without a heartbeat after which the hub kills this process; 0 if it never does."""
    value = os.environ.get(WATCHDOG_VARIABLE, "0")
    try:
        return max(0, float(value))
    except ValueError:
        raise ConfigError(WATCHDOG_VARIABLE, f'is "{value}", expected a number of seconds') from None


def _write_stacks_to(path: Path) -> None:
    """Have the interpreter write the stacks of all threads when it crashes, and when the hub is about to kill it."""
    try:
        # The file is always created, never just opened: an existing one may be a pipe, or a link to another file.
        clear_path(path)
        file = path.open("x", encoding="utf-8")
    except OSError as error:
        get_logger().warning("stack file not created", file=str(path), reason=str(error))
        return
    faulthandler.enable(file)
    faulthandler.register(STACK_SIGNAL, file)
    # The hub has blocked this signal, so that it could not terminate the process before this line.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {STACK_SIGNAL})


if __name__ == "__main__":
    sys.exit(main())
