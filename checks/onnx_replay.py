"""Runs the models of `checks.onnx_versions` in an environment that has nothing but ONNX Runtime and numpy."""

import json
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime


def main(folder: Path) -> None:
    """Print one line of JSON: versions and what each kind of model did."""
    found = {kind: Counter() for kind in ("none", "exact", "int8")}
    failures = []
    began = time.perf_counter()
    for path in sorted(folder.glob("*.json")):
        case = json.loads(path.read_text())
        with np.load(path.with_suffix(".npz")) as file:
            arrays = dict(file)
        try:
            tensors = replay(folder, case, arrays["input"])
        except Exception as error:  # ONNX Runtime's errors have no common type
            failures.append(f"{path.stem}: {' '.join(str(error).split())[:200]}")
            continue
        found[case["kind"]].update(compare(case, tensors, arrays))
    answer = {
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "seconds": time.perf_counter() - began,
        "found": found,
        "failures": failures,
    }
    print(json.dumps(answer))


def replay(folder: Path, case: dict, x: np.ndarray) -> dict[str, np.ndarray]:
    """All outputs; of a streaming model those of its chunks, one after the other."""
    tensors, joined = {"input": x}, {}
    for name in case["models"]:
        session = open_model(folder / name)
        if not case["states"]:
            tensors |= run(session, {**tensors, "steps": np.array([case["steps"]], np.int64)})
            continue
        state = {name: zeros(value, len(x)) for name, value in inputs(session).items() if name in case["states"]}
        for chunk in case["chunks"]:
            made = run(session, {**tensors, **state, "steps": np.array([chunk], np.int64)})
            state = {before: made[after] for before, after in case["states"].items()}
            for key, value in made.items():
                joined.setdefault(key, []).append(value)
    for key, values in joined.items():
        timed = key in case["layers"] or key.endswith(".spikes")
        tensors[key] = np.concatenate(values) if timed else values[-1]
    return tensors


def compare(case: dict, tensors: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> Counter:
    """Spikes compared and wrong, counts wrong, and logits beyond 1e-4 where all spikes are right."""
    wrong = compared = counts = 0
    for layer in case["layers"]:
        spikes = arrays[f"spikes/{layer}"]
        wrong += int(np.count_nonzero(tensors[layer] != spikes))
        compared += spikes.size
        if case["counts"]:
            total = tensors[layer].sum(tuple(range(2, spikes.ndim)))
            counts += int(np.count_nonzero(tensors[case["counts"][layer]] != total))
    far = not wrong and np.abs(tensors["logits"] - arrays["logits"]).max() > 1e-4
    return Counter(models=1, compared=compared, wrong=wrong, wrong_counts=counts, far_logits=int(far))


def open_model(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def inputs(session: onnxruntime.InferenceSession) -> dict:
    return {value.name: value for value in session.get_inputs()}


def run(session: onnxruntime.InferenceSession, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [value.name for value in session.get_outputs()]
    feed = {name: tensors[name] for name in inputs(session)}
    return dict(zip(names, session.run(names, feed), strict=True))


def zeros(value: onnxruntime.NodeArg, batch: int) -> np.ndarray:
    dtype = {"tensor(float)": np.float32, "tensor(int64)": np.int64}[value.type]
    return np.zeros([batch if axis == "B" else axis for axis in value.shape], dtype)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
