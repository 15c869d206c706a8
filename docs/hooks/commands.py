"""`<!-- commands -->`: every command of the command line with its arguments, options and example, from the program itself."""

import inspect
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from typer import Context
from typer.models import OptionInfo, ParameterInfo

from docs.hooks.tables import table
from neurodeploy.cli.main import EXPORTING, app
from neurodeploy.cli.target_options import with_target_options

MARKER = "<!-- commands -->"
_WORDS = {bool: "", int: "N", float: "X", Path: "PATH", str: "NAME"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with the commands in the place of the marker."""
    return markdown.replace(MARKER, text()) if MARKER in markdown else markdown


def text() -> str:
    """Markdown: a section for each command, in the program's order."""
    return "\n\n".join(
        _section(str(one.name), str(one.help), str(one.epilog), one.callback) for one in app.registered_commands if one.callback
    )


def _section(name: str, told: str, epilog: str, command: Callable[..., Any]) -> str:
    command = with_target_options(command) if name in EXPORTING else command
    hints, signature = get_type_hints(command, include_extras=True), inspect.signature(command)
    options, arguments = [], []
    for parameter in signature.parameters.values():
        if hints[parameter.name] is Context:
            continue
        kind, information = get_args(hints[parameter.name])
        row = _row(parameter, kind, information)
        (options if isinstance(information, OptionInfo) else arguments).append(row)
    usage = " ".join(("neurodeploy", name, *(row[0].strip("`") for row in arguments), *(["[OPTIONS]"] if options else [])))
    parts = [f"## {name}", inspect.cleandoc(told), f"```text\n{usage}\n```"]
    if arguments or options:
        parts.append(table(("", "meaning", "default"), [*arguments, *options]))
    example = inspect.cleandoc(epilog.partition("Example:")[2])
    return "\n\n".join([*parts, f"```sh\n{example}\n```"])


def _row(parameter: inspect.Parameter, kind: Any, information: ParameterInfo) -> tuple[str, str, str]:
    several = get_origin(kind) is list or any(get_origin(one) is list for one in get_args(kind))
    if isinstance(information, OptionInfo):
        declared = (information.default, *(information.param_decls or ()))  # Typer takes the first name for a default
        names = [one for one in declared if isinstance(one, str)] or [f"--{parameter.name.replace('_', '-')}"]
        word = _WORDS[_inner(kind)]
        name = f"`{', '.join(names)}{f' {word}' if word else ''}`"
    else:
        name = f"`{parameter.name.upper()}{' …' if several else ''}`"
    choices = ", ".join(f"`{choice}`" for choice in _choices(kind))
    meaning = f"{information.help or ''}{f' One of {choices}.' if choices else ''}"
    return name, meaning, _default(parameter.default)


def _inner(kind: Any) -> Any:
    """The type of one value, without `None` and `list`."""
    if get_origin(kind) is Literal:
        return str
    inner = [one for one in get_args(kind) if one is not NoneType]
    return _inner(inner[0]) if inner else kind


def _choices(kind: Any) -> tuple[str, ...]:
    if get_origin(kind) is Literal:
        return get_args(kind)
    return tuple(choice for one in get_args(kind) for choice in _choices(one))


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    return "" if value in (None, False) else f"`{value}`"
