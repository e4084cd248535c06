"""`dphub completion`: the script that lets a shell complete commands, options and names."""

import os
import re
import shlex

import click
from click.shell_completion import CompletionItem, ShellComplete, add_completion_class, split_arg_string

from hub.base.errors import HubError
from hub.cli import COMPLETE_VARIABLE, cli
from hub.cli.render.text import examples

SHELLS = ("bash", "zsh", "fish")

_SCRIPT = r"""%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \
        %(complete_var)s=bash_complete %(prog_name)s 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@add_completion_class
class Bash(ShellComplete):
    """Completion for bash 4.4 and later. Unlike click's own, it completes words with a colon, such as PCI addresses.

    bash splits words at each character of COMP_WORDBREAKS, which include ":" and "=", and replaces only what follows
    the last of them. So this class reads the whole line, and omits the preceding part from the completion.
    """

    name = "bash"
    source_template = _SCRIPT

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor's word, and that word."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)[1:]
        if _open_quote(line) or not line[-1:].isspace():
            return words[:-1], words[-1] if words else ""
        return words, ""

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Format one completion as a line."""
        line = os.environ["COMP_LINE"]
        if _open_quote(line):
            return f"{item.type},{item.value}"
        _, begun = self.get_completion_args()
        begun = begun.partition("=")[2] if begun.startswith("-") else begun
        breaks = [begun.rfind(sign) for sign in ":=" if sign in os.environ.get("COMP_WORDBREAKS", "")]
        kept = begun[: max(breaks, default=-1) + 1]
        escaped = re.sub(r"([^\w@%+=:,./-])", r"\\\1", item.value.removeprefix(kept))
        return f"{item.type},{escaped}"


def _open_quote(line: str) -> bool:
    """Return whether the last word of a line begins with a quote that is not closed."""
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        list(lexer)
    except ValueError as error:
        # The only other ValueError means a backslash at the end.
        return "quotation" in str(error)
    return False


@click.command(
    epilog=examples(
        'eval "$(dphub completion bash)"  # in ~/.bashrc',
        'eval "$(dphub completion zsh)"  # in ~/.zshrc, after compinit',
        "dphub completion fish > ~/.config/fish/completions/dphub.fish",
    )
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes commands, options, plugins, devices and resources in SHELL.

    Names come from the files in the run directory, so they are completed for users who can read it, even when no hub
    is running.
    """
    made = click.shell_completion.get_completion_class(shell)
    if made is None:
        raise HubError(f"click has no completion for {shell}")
    click.echo(made(cli, {}, "dphub", COMPLETE_VARIABLE).source(), nl=False)  # noqa: TID251 - our own script, with tabs
