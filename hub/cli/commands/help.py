"""`dphub help`: the help of a command, or a topic."""

import click
from click.shell_completion import CompletionItem

from hub.base.wording import did_you_mean
from hub.cli import COMMANDS, cli
from hub.cli.render.text import echo, examples
from hub.cli.topics import TOPICS, write_topic


def _complete(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem[str]]:
    texts = {name: text for name, (_, text) in COMMANDS.items()} | {
        name: topic.summary for name, topic in TOPICS.items()
    }
    return [CompletionItem(name, help=text) for name, text in texts.items() if name.startswith(begun)]


@click.command(epilog=examples("dphub help status", "dphub help exit-codes"))
@click.argument("topic", required=False, shell_complete=_complete)
@click.pass_context
def help(ctx: click.Context, topic: str | None) -> None:  # noqa: A001 - the command's name
    """Show the help of a command, or explain a TOPIC.

    The topics are files, environment, exit-codes and device-health.
    """
    of_dphub = cli.make_context("dphub", [], resilient_parsing=True)
    if topic is None:
        echo(cli.get_help(of_dphub))
    elif topic in TOPICS:
        formatter = ctx.make_formatter()
        write_topic(topic, formatter)
        echo(formatter.getvalue().rstrip("\n"))
    elif command := cli.get_command(of_dphub, topic):
        echo(command.get_help(click.Context(command, of_dphub, info_name=topic)))
    else:
        text = f"there is no command or topic {topic}; the topics are {', '.join(TOPICS)}"
        raise click.UsageError(f"{text}{did_you_mean(topic, [*COMMANDS, *TOPICS])}")
