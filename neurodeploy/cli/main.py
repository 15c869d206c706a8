"""The command line: one small file per command, errors as one clear line each."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from neurodeploy.cli import (
    benchmark,
    compare,
    diff,
    doctor,
    energy,
    evaluate,
    export,
    map,
    models,
    new,
    nir,
    profiles,
    recipes,
    run,
    schema,
    sign,
    simulate,
    sweep,
    train,
    upgrade,
    verify,
)
from neurodeploy.cli.caged import run_in_cage
from neurodeploy.cli.console import err, out, spell_out, terminated_as_interrupted
from neurodeploy.cli.target_options import with_target_options
from neurodeploy.io.errors import Failure, Notice, UserError, spelled
from neurodeploy.io.version import VERSION

EXPORTING: dict[str, Callable[..., None]] = {"export": export.command, "benchmark": benchmark.command}
"""Commands that have the options of targets too."""


@contextmanager
def _spelled_out() -> Iterator[None]:
    """What is wrong with a command's arguments quotes them, and another program may have made them of a file's names."""
    try:
        yield
    except Exception as error:  # click's own, from whichever package typer has it
        said = getattr(error, "message", None)
        if isinstance(said, str) and hasattr(error, "exit_code"):
            vars(error)["message"] = spelled(said)
        raise


class Commands(TyperGroup):
    """The commands; those that export get the targets' options when they are called, since that imports all targets."""

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        with _spelled_out():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> Any:
        with _spelled_out():
            return super().invoke(ctx)

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
    diff,
    sign,
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
    models,
    schema,
    upgrade,
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


_NO_MEMORY = ("can't allocate memory", "std::bad_alloc", "bad allocation", "out of memory")
"""What libraries of others say instead of raising a MemoryError."""


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 1 a failure (such as a verification that found differences), 2 bad input, 130 interrupted.
    """
    spell_out()
    terminated_as_interrupted()
    warnings.showwarning = _shown
    try:
        code = run_in_cage(sys.argv[1:])
        if code is not None:
            sys.exit(code)
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
    except RuntimeError as error:
        if not any(words in str(error) for words in _NO_MEMORY):
            raise
        _stop("more memory needed than there is; use fewer samples or steps at a time", 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _stop(f"{place}{error.strerror or error}", 1)


def _shown(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A notice in one line on standard error; every other warning as Python shows it."""
    if issubclass(category, Notice):
        err.print(f"warning: {spelled(str(message))}")
    else:
        _as_python(message, category, filename, lineno, file, line)


_as_python = warnings.showwarning


def _stop(message: str, code: int) -> None:
    # what a message quotes may come from a file: no character in it reaches the terminal as a command or a line of its own
    err.print(f"error: {spelled(message)}")
    sys.exit(code)
