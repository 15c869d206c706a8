"""Stand-ins for modules that have moved: their names can be imported from the old place for one version, with a warning."""

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any
from warnings import warn


class MovedModule(ModuleType):
    """Stands for a module that has moved, and hands on its names.

    Args:
        name: where it was.
        homes: modules that have its names now.
        names: old name → new one, where they differ.
    """

    def __init__(self, name: str, homes: tuple[str, ...], names: Mapping[str, str]) -> None:
        super().__init__(name, "A module that has moved.")
        self._homes, self._names = homes, names

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            current = self._names.get(name, name)
            for home in self._homes:
                module = import_module(home)
                if hasattr(module, current):
                    warn(f"{self.__name__}.{name} is {home}.{current} now", DeprecationWarning, stacklevel=2)
                    return getattr(module, current)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def stand_in(homes: Mapping[str, tuple[str, ...]], names: Mapping[str, Mapping[str, str]]) -> None:
    """Register modules that have moved; nothing is imported before one of their names is asked for.

    Args:
        homes: old module → the modules that have its names now.
        names: old module → old name → new one.
    """
    for module, current in homes.items():
        sys.modules.setdefault(module, MovedModule(module, current, names.get(module, {})))


def renamed(package: str, homes: Mapping[str, str], name: str) -> Any:
    """A name that a package had; for the package's own `__getattr__`.

    Args:
        package: whose name it was.
        homes: old name → where it is now, `module.name`.
        name: asked for.

    Raises:
        AttributeError: the package never had that name.
    """
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    module, _, current = homes[name].rpartition(".")
    warn(f"{package}.{name} is {homes[name]} now", DeprecationWarning, stacklevel=3)
    return getattr(import_module(module), current)
