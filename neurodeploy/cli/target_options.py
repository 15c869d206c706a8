"""The options of export targets on the command line: they follow from each target's `Options`, those of other packages too."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from neurodeploy.io.errors import UserError


def with_target_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with one option more for each field of the installed targets' `Options`; targets share fields of one name.

    What is given of them is `ctx.obj` in the command, by field; see `given`. Every target is imported for this.

    Raises:
        UserError: a target's option has the name of one of the command's own.
    """
    from neurodeploy_exporters.target import usable

    own = inspect.signature(command, eval_str=True)
    fields: dict[str, list[tuple[str, FieldInfo]]] = {}
    for target, kind in usable().items():
        for name, field in kind.Options.model_fields.items():
            if name in own.parameters:
                raise UserError(f"target {target}: its option {name} is one of the command's own; it needs another name")
            fields.setdefault(name, []).append((target, field))

    @wraps(command)
    def extended(ctx: typer.Context, **arguments: Any) -> None:
        options = {name: arguments.pop(name) for name in fields}
        ctx.obj = {name: value for name, value in options.items() if value is not None}
        command(ctx, **arguments)

    parameters = [*own.parameters.values(), *(_parameter(name, having) for name, having in fields.items())]
    vars(extended)["__signature__"] = own.replace(parameters=parameters)  # what Typer reads
    extended.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return extended


def given(ctx: typer.Context) -> Mapping[str, Any]:
    """The options of targets that stand on the command line, by field."""
    options: Mapping[str, Any] = ctx.obj or {}
    return options


def _parameter(name: str, fields: Sequence[tuple[str, FieldInfo]]) -> inspect.Parameter:
    texts: dict[str, list[str]] = {}
    for target, field in fields:
        texts.setdefault(field.description or "", []).append(target)
    told = " ".join(f"For {', '.join(targets)}: {text}" for text, targets in texts.items())
    defaults: dict[Any, list[str]] = {}
    for target, field in fields:
        defaults.setdefault(field.default, []).append(target)
    if len(defaults) > 1:
        each = (f"{default} for {', '.join(targets)}" for default, targets in defaults.items())
        told = f"{told} [default: {'; '.join(each)}]"
    elif (default := next(iter(defaults))) not in (None, False):
        told = f"{told} [default: {default}]"
    kinds = [_kind(field) for _, field in fields]
    choices = tuple(dict.fromkeys(choice for kind in kinds if isinstance(kind, tuple) for choice in kind))
    kind: Any = Literal[choices] if choices else kinds[0]
    option = typer.Option(f"--{name.replace('_', '-')}", help=told, show_default=False)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option])


def _kind(field: FieldInfo) -> Any:
    """A type, or the texts of a `Literal`; what stands beside `None` counts."""
    annotation = field.annotation
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(one for one in get_args(annotation) if one is not NoneType)
    return get_args(annotation) if get_origin(annotation) is Literal else annotation
