"""The options of all commands of `kubectl dphub`, and how to reach the hubs with them."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import wraps

import click

from hub.cli.fleet.filters import HEALTH
from hub.cli.fleet.kubectl import Kubectl
from hub.cli.fleet.pods import SELECTOR
from hub.cli.fleet.proxy import Proxy
from hub.cli.fleet.queries import Fleet
from hub.cli.render.text import click_errors

Function = Callable[..., None]

NAMESPACE = "device-plugin-hub"

TIMEOUT = 5

PARALLEL = 32
"""A higher number is not faster for 500 nodes (benchmarks/fleet.py)."""


@dataclass(frozen=True)
class Target:
    """The hubs that a command is about, and how to reach them."""

    kubectl: Kubectl
    selector: str
    timeout: float
    parallel: int

    @contextmanager
    def fleet(self) -> Iterator[Fleet]:
        """Connect to the cluster.

        Raises:
            HubError: kubectl cannot be used.
        """
        with closing(Proxy(self.kubectl)) as proxy:
            yield Fleet(self.kubectl, proxy, selector=self.selector, timeout=self.timeout, parallel=self.parallel)


def cluster_options(function: Function) -> Function:
    """Add the options that select the hubs to a command, and pass these hubs as its argument `target`."""

    @click.option(
        "-n",
        "--namespace",
        default=NAMESPACE,
        show_default=True,
        help="The namespace of the hubs.",
    )
    @click.option(
        "-l",
        "--selector",
        default=SELECTOR,
        show_default=True,
        help="The label selector of the hubs' pods.",
    )
    @click.option("--context", default="", help="The context of the kubeconfig file.  [default: the current one]")
    @click.option("--kubeconfig", default="", help="The kubeconfig file.  [default: the one that kubectl uses]")
    @click.option(
        "--timeout",
        metavar="SECONDS",
        type=click.FloatRange(min=0.1, max=600),
        default=TIMEOUT,
        show_default=True,
        help="How long to wait for the response from one hub.",
    )
    @click.option(
        "--parallel",
        metavar="N",
        type=click.IntRange(min=1, max=200),
        default=PARALLEL,
        show_default=True,
        help="How many hubs to query at a time.",
    )
    @wraps(function)
    def command(
        *arguments: object,
        namespace: str,
        selector: str,
        context: str,
        kubeconfig: str,
        timeout: float,
        parallel: int,
        **options: object,
    ) -> None:
        with click_errors():
            target = Target(Kubectl(namespace, context, kubeconfig), selector, timeout, parallel)
            function(*arguments, target=target, **options)

    return command


node_option = click.option("--node", "nodes", metavar="NODE", multiple=True, help="Only this node; may be repeated.")

resource_option = click.option("--resource", metavar="NAME", default="", help="Only this resource.")

health_option = click.option("--health", type=click.Choice(HEALTH), help="Only devices with this health.")

pod_namespace_option = click.option(
    "--pod-namespace", metavar="NAME", default="", help="Only devices that a pod of this namespace uses."
)

watch_option = click.option("--watch", is_flag=True, help="Keep refreshing the output until interrupted.")


def json_option(text: str) -> Callable[[Function], Function]:
    """Return the `--json` option.

    Args:
        text: The help.
    """
    return click.option("--json", "as_json", is_flag=True, help=text)
