"""Where progress is shown: standard error, never mixed with results."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def progress_console() -> "Console":
    """A console on standard error that reads no markup; rich draws on it in a notebook only where it has the widgets for it."""
    from rich.console import Console

    widgets = None if find_spec("ipywidgets") is not None else False  # else it leaves a warning in place of each bar
    return Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False, force_jupyter=widgets)
