"""Peak memory of one pass, each subject in a fresh process: `python -m benchmarks.memory SUBJECT …` prints one JSON line.

The process imports, builds and runs the pass once, so that lazy imports, compilers and the libraries' caches are not counted;
it then gives free memory back, resets its high-water mark (Linux, `VmHWM`), and measures the pass once more. Elsewhere it is
`ru_maxrss` over that of the set-up; on Linux that mark survives exec, so it would start at the parent's. With a GPU it is the
peak of torch's allocator over what weights and input take.
"""

import argparse
import ctypes
import gc
import json
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.agreement import build
from benchmarks.results import Memory, Mode
from benchmarks.setting import FirstLayer, Setting, sample
from benchmarks.subjects import SUBJECTS
from benchmarks.timing import step
from neurodeploy.dynamics.kernels.memory import BUFFERS, Allocator, tune


def measure(key: str, setting: Setting, mode: Mode, device: str = "cpu", allocator: Allocator = "default") -> Memory:
    """The subject's peak, from a process of its own.

    Raises:
        RuntimeError: that process failed; its last words are in the message.
    """
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.memory", key]
    command += ["--steps", str(setting.steps), "--batch", str(setting.batch), "--first-layer", setting.first_layer]
    done = subprocess.run(
        [*command, "--mode", mode, "--device", device, "--allocator", allocator], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"memory of {key}: {done.stderr.strip().splitlines()[-1]}")
    return Memory(**json.loads(done.stdout.splitlines()[-1]))


def _peak(key: str, setting: Setting, mode: Mode, device: str) -> tuple[int, str]:
    subject = SUBJECTS[key]
    images, labels = (x.to(device) for x in sample(setting))
    network = build(subject, setting, device)
    once = step(subject, network, images, labels, mode)
    if device == "cuda":
        once()
        network.zero_grad(set_to_none=True)
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        once()
        return torch.cuda.max_memory_allocated() - held, "torch.cuda.max_memory_allocated over what was held"
    return peak_of(once, lambda: network.zero_grad(set_to_none=True))


def peak_of(once: Callable[[], object], between: Callable[[], None] = lambda: None) -> tuple[int, str]:
    """Bytes by which a call raises this process's peak, and how they were measured; `between` frees what a first call left."""
    if sys.platform != "linux":
        before = _maximum_resident()
        once()
        return _maximum_resident() - before, "ru_maxrss over that of the set-up"
    once()
    between()
    gc.collect()
    BUFFERS.release()  # ours would be held, and counted for none of the passes
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _high_water_mark()
    once()
    return _high_water_mark() - before, "VmHWM over a reset mark, second pass"


def _maximum_resident() -> int:
    """Bytes; `ru_maxrss` is in KiB but on macOS."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _high_water_mark() -> int:
    """Bytes that were resident at most since the mark was reset."""
    found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--first-layer", choices=FirstLayer.__args__, default="once")
    parser.add_argument("--mode", choices=Mode.__args__, default="forward + backward")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--allocator", choices=Allocator.__args__, default="default")
    given = parser.parse_args()
    if given.allocator == "tuned":
        tune()
    torch.set_num_threads(1)
    setting = Setting(steps=given.steps, batch=given.batch, first_layer=given.first_layer)
    peak, method = _peak(given.subject, setting, given.mode, given.device)
    memory = Memory(
        subject=SUBJECTS[given.subject].name,
        mode=given.mode,
        steps=given.steps,
        first_layer=given.first_layer,
        peak_bytes=peak,
        method=method,
    )
    sys.stdout.write(f"\n{memory.model_dump_json()}\n")


if __name__ == "__main__":
    main()
