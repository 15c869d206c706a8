"""Names and modules that the guides of version 0.1 showed, under what they are called now; they go with the next version."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any
from warnings import warn

_NAMES = {"profile": "account", "Deployment": "DeploymentEnergy"}
_MODULES = {
    "cost": ("price.profiles",),
    "deployment": ("price.account",),
    "twins": ("price.estimate", "price.account"),
    "report.terminal": ("report.formats", "report.tables"),
    "report.verdict_figures": ("report.figures",),
}
"""Module → where its names are now."""


class MovedModule(ModuleType):
    """Stands for a module that has moved, and hands on its names."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            package = self.__name__.partition(".")[0]
            for home in _MODULES[self.__name__.removeprefix(f"{package}.")]:
                module = import_module(f"{package}.{home}")
                if hasattr(module, _NAMES.get(name, name)):
                    warn(f"{self.__name__}.{name} is in {module.__name__} now", DeprecationWarning, stacklevel=2)
                    return getattr(module, _NAMES.get(name, name))
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def stand_in(package: str) -> None:
    """Register the old modules; nothing is imported before one of their names is asked for."""
    for name in _MODULES:
        sys.modules.setdefault(f"{package}.{name}", MovedModule(f"{package}.{name}"))


def renamed(package: str, name: str) -> Any:
    """What a name of the package is called now.

    Raises:
        AttributeError: it never had that name.
    """
    if name not in _NAMES:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    warn(f"{package}.{name} is called {_NAMES[name]} now", DeprecationWarning, stacklevel=3)
    return getattr(sys.modules[package], _NAMES[name])
