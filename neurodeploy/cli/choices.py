"""Options that several commands share."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from neurodeploy.app.model import NirChoices

Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option("--device", help="Where to compute: the GPU if there is one (auto), or the one named."),
]
Kernel = Annotated[
    Literal["reference", "handwritten", "native", "fused", "compiled"] | None,
    typer.Option("--kernel", help="How spiking layers compute; the best one for the device if not given.", show_default=False),
]
Allocator = Annotated[
    Literal["auto", "default", "tuned"],
    typer.Option("--allocator", help="Tuned: glibc keeps large blocks, faster on a CPU. Auto: tuned where that is possible."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the results.", show_default=False)]

Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="A TOML file with [data], folder:PATH, npz:PATH, torch:my_module:function, a kind, or my_module:Kind of your own.",
        show_default=False,
    ),
]
DataPart = Annotated[Literal["test", "training", "all"], typer.Option("--part", help="Of the data set.")]
Inputs = Annotated[
    Path | None,
    typer.Option("--input", help="Samples [N, …] as the model takes them, in a .npy file.", show_default=False),
]
Labels = Annotated[
    Path | None, typer.Option("--labels", help="Labels [N] of the samples of --input, in a .npy file.", show_default=False)
]

Convention = Annotated[
    str | None,
    typer.Option(
        "--written-by",
        "--convention",
        help="NIR: whose file it is, and so how it is stepped: nir, spikingjelly, snntorch, norse, sinabs or spyx, with what "
        "the file leaves out, such as sinabs:norm_input=false,min_v_mem=-1. Guessed if not given (docs/nir.md).",
        show_default=False,
    ),
]
TimeStep = Annotated[
    float | None, typer.Option("--dt", help="NIR: one time step, in the unit of its time constants.", show_default=False)
]
NirReset = Annotated[
    Literal["hard", "soft"] | None, typer.Option("--reset", help="NIR: to v_reset, or minus the threshold.", show_default=False)
]
InputShape = Annotated[
    str | None, typer.Option("--input-shape", help="NIR: C,H,W of a sample, if the file does not tell.", show_default=False)
]
Steps = Annotated[
    int | None, typer.Option("--steps", min=1, help="NIR: feed static samples so many times.", show_default=False)
]


def sample_shape(text: str | None) -> tuple[int, ...] | None:
    """What `--input-shape` says.

    Raises:
        UserError: it is no shape.
    """
    try:
        shape = None if text is None else tuple(int(size) for size in text.split(","))
    except ValueError:
        shape = ()
    if shape is not None and (not shape or min(shape) < 1):
        raise UserError(f"--input-shape: {text} found, numbers such as 3,32,32 expected")
    return shape


def given_names(ctx: typer.Context) -> set[str]:
    """The parameters that stand on the command line, by name."""
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def refuse(ctx: typer.Context, names: Iterable[str], why: str) -> None:
    """Refuse options that do not apply, rather than ignore them.

    Args:
        ctx: of the command.
        names: of parameters.
        why: for the message, such as "belongs to a NIR file".

    Raises:
        UserError: one of them stands on the command line; the message names it.
    """
    for name in sorted(given_names(ctx) & {*names}):
        option = next(one.opts[0] for one in ctx.command.params if one.name == name)
        raise UserError(f"{option}: {why}; leave it out")


NIR_OPTIONS = ("convention", "dt", "reset", "input_shape", "steps")


def nir_choices(
    convention: str | None, dt: float | None, reset: Literal["hard", "soft"] | None, input_shape: str | None, steps: int | None
) -> "NirChoices":
    """What the options for NIR files say.

    Raises:
        UserError: the shape is none.
    """
    from neurodeploy.app.model import NirChoices

    return NirChoices(convention, dt, reset, sample_shape(input_shape), steps)


@contextmanager
def computing(kernel: str | None, allocator: str) -> Iterator[None]:
    """Inside, the options `--kernel` and `--allocator` hold; the latter for the rest of the process.

    Raises:
        UserError: one of them is unavailable here.
    """
    from neurodeploy.dynamics.kernels import using
    from neurodeploy.dynamics.kernels.memory import tune

    with suppress(UserError) if allocator == "auto" else nullcontext():
        if allocator != "default":
            tune()
    with using(kernel) if kernel else nullcontext():
        yield
