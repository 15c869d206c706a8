"""Runs cases in an environment that has one program and numpy: `python -I replay.py PROGRAM ENGINES FOLDER CASE …`.

Loads `engines.py` and `further.py` by their paths, since nothing of this package is installed here. Before each case a line
`{"begin": case}` is printed, behind it one with what came out, so that a program that crashes costs one case.
"""

import importlib.util
import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

_LONGEST = 300
_ATOL = 1e-3


def loaded(path: Path, name: str) -> ModuleType:
    """A module by its file."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there for their annotations
    spec.loader.exec_module(module)
    return module


def tensors_of(folder: Path, case: dict[str, Any], name: str) -> dict[str, np.ndarray]:
    """What the file of a case holds."""
    values = np.fromfile(folder / f"{name}.bin", np.float32)
    return {
        key: values[entry["offset"] :][: int(np.prod(entry["shape"]))].reshape(entry["shape"])
        for key, entry in case["tensors"].items()
    }


def tried(engines: ModuleType, kind: Any, folder: Path, name: str) -> dict[str, Any]:
    """One case: whether it opens, and how many spikes differ."""
    case = json.loads((folder / f"{name}.json").read_text("utf-8"))
    known, signature = tensors_of(folder, case, name), engines.Signature(**case["signature"])
    try:
        engine = kind.open(folder / case["model"], signature, 1)
    except Exception as error:  # programs have errors of their own
        return {"case": name, "opens": False, "why": one_line(error)}
    try:
        made = engines.play(engine, signature, known["input"], case["chunks"])
        wrong, compared = 0, 0
        for layer in case["layers"]:
            spikes = known[f"spikes/{layer}"]
            if np.shape(made[layer]) != spikes.shape:
                raise ValueError(f"layer {layer}: shape {np.shape(made[layer])} made, {spikes.shape} expected")
            wrong += int(np.count_nonzero(made[layer] != spikes))
            compared += spikes.size
        logits = np.reshape(made[case["logits"]], known[case["logits"]].shape)
    except Exception as error:
        return {"case": name, "opens": True, "why": one_line(error)}
    far = float(np.abs(logits - known[case["logits"]]).max())
    return {"case": name, "opens": True, "wrong": wrong, "compared": compared, "logits_apart": far}


def one_line(error: Exception) -> str:
    """The beginning of an error's text."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]


def installed(packages: tuple[str, ...]) -> str:
    """Of the first package that is there."""
    for package in packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "unknown"


def main() -> None:
    program, path, folder, *names = sys.argv[1:]
    engines = loaded(Path(path), "engines")
    further = loaded(Path(__file__).with_name("further.py"), "further")
    kind = next(one for one in (*engines.ENGINES, *further.further(engines.EngineKind)) if one.name == program)
    print(json.dumps({"program": program, "version": installed(kind.packages)}), flush=True)
    for name in names:
        print(json.dumps({"begin": name}), flush=True)
        print(json.dumps(tried(engines, kind, Path(folder), name)), flush=True)


if __name__ == "__main__":
    main()
