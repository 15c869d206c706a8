"""The layout holds: no import circle, no class name twice, and nobody but a target's own folder knows its name."""

import ast
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGES = ("neurodeploy", "neurodeploy_exporters", "neurodeploy_energy")
TARGETS = ("onnx", "lava", "nir", "c")
# they are about one target: its simulator, its chips, its runtime, its files as a source of networks
OF_ONE_TARGET = {
    *("neurodeploy.cli.simulate", "neurodeploy.cli.map", "neurodeploy.cli.doctor", "neurodeploy.cli.nir"),
    *("neurodeploy.app.model", "neurodeploy.app.nir_file"),
}


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        spec = find_spec(package)
        assert spec is not None
        assert spec.submodule_search_locations is not None
        root = Path(spec.submodule_search_locations[0])
        for path in root.rglob("*.py"):
            parts = [package, *path.relative_to(root).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}


def imports(name: str) -> set[str]:
    """Modules of the packages that one imports, inside its functions too."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {module if module in MODULES else node.module for module in inner}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & MODULES.keys()) - {name}


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


GRAPH = {name: imports(name) for name in MODULES}


def test_no_modules_import_each_other_in_a_circle():
    try:
        order = list(TopologicalSorter(GRAPH).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
    assert len(order) == len(MODULES)


def test_no_class_name_is_used_twice():
    homes = defaultdict(list)
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(name)
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_rooms_stand_on_floors():
    rooms = defaultdict(set)
    for name, found in GRAPH.items():
        rooms[room(name)] |= {room(other) for other in found} - {room(name)}
    rooms.pop("neurodeploy")  # the front door shows names of every room
    list(TopologicalSorter({name: others - {"neurodeploy"} for name, others in rooms.items()}).static_order())


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("neurodeploy_energy", {"neurodeploy.io"}),
        ("neurodeploy_exporters", {"neurodeploy.io", "neurodeploy.dynamics", "neurodeploy.graph"}),
        ("neurodeploy.io", set()),
        ("neurodeploy.dynamics", {"neurodeploy.io"}),
        ("neurodeploy.data", {"neurodeploy.io"}),
    ],
)
def test_a_package_needs_no_more_than_its_floors(package, allowed):
    own = [name for name in MODULES if name == package or name.startswith(f"{package}.")]
    needed = {room(other) for name in own for other in GRAPH[name] if not other.startswith(package)}
    assert needed <= allowed


def test_bundles_runs_and_the_command_line_know_no_target_by_name():
    own = tuple(f"neurodeploy_exporters.{target}" for target in TARGETS)
    knowing = {
        name
        for name, found in GRAPH.items()
        if not name.startswith(own) and any(other == one or other.startswith(f"{one}.") for other in found for one in own)
    }
    assert knowing == OF_ONE_TARGET
