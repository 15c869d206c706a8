"""Where the command line writes: results to standard output, progress and errors to standard error.

Neither reads markup: a layer or a path may hold square brackets.
"""

from rich.console import Console

out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
