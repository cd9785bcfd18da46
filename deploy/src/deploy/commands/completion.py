"""`millrace completion`: for shells."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete this command.

    \b
    bash:  source <(millrace completion bash)
    zsh:   source <(millrace completion zsh)
    fish:  millrace completion fish | source
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "millrace", "_MILLRACE_COMPLETE").source())
