"""The command line: one small file per command, errors as one clear line each."""

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from neurodeploy.cli import (
    benchmark,
    compare,
    doctor,
    energy,
    evaluate,
    export,
    map,
    new,
    nir,
    profiles,
    recipes,
    run,
    simulate,
    sweep,
    train,
    verify,
)
from neurodeploy.cli.console import err, out
from neurodeploy.cli.target_options import with_target_options
from neurodeploy.io.errors import Failure, UserError, printable
from neurodeploy.io.version import VERSION

EXPORTING: dict[str, Callable[..., None]] = {"export": export.command, "benchmark": benchmark.command}
"""Commands that have the options of targets too."""


class Commands(TyperGroup):
    """The commands; those that export get the targets' options when they are called, since that imports all targets."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name in EXPORTING:
            whole = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
            described: Any = command
            whole.command(name, help=described.help, epilog=described.epilog)(with_target_options(EXPORTING[name]))
            command = typer.main.get_command(whole)
        return name, command, rest


app = typer.Typer(
    name="neurodeploy",
    cls=Commands,
    help="Train distilled spiking networks, export them to ONNX and Loihi, and account for their energy.",
    epilog="\b\nExample:\n  neurodeploy run digits --output runs/demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

for _module in (
    run,
    train,
    evaluate,
    export,
    verify,
    benchmark,
    simulate,
    map,
    energy,
    compare,
    sweep,
    nir,
    new,
    profiles,
    recipes,
    doctor,
):
    _name = _module.__name__.rpartition(".")[2]
    app.command(_name, help=_module.__doc__, epilog=f"\b\nExample:\n  {_module.EXAMPLE}")(_module.command)


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"neurodeploy {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options of the whole command line."""


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 1 a failure (such as a verification that found differences), 2 bad input, 130 interrupted.
    """
    try:
        app()
    except UserError as error:
        _stop(str(error), 2)
    except Failure as error:
        _stop(str(error), 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except MemoryError as error:
        _stop(f"more memory needed than there is ({error}); use fewer samples or steps at a time", 1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _stop(f"{place}{error.strerror or error}", 1)


def _stop(message: str, code: int) -> None:
    # what a message quotes may come from a file: no character in it reaches the terminal as a command
    err.print(f"error: {printable(message)}")
    sys.exit(code)
