"""The machine a measurement comes from."""

import os
import platform
import re
from pathlib import Path

import torch

from benchmarks.results import Machine
from neurodeploy.dynamics.kernels.memory import Allocator


def machine(device: str, allocator: Allocator, load_before: float) -> Machine:
    """This one, with the load average as it is now."""
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        cpu=cpu_model(),
        cores=os.cpu_count() or 1,
        memory_gib=round(pages / 2**30, 1),
        device=torch.cuda.get_device_name() if device == "cuda" else "cpu",
        allocator=allocator,
        torch=torch.__version__,
        python=platform.python_version(),
        load_before=round(load_before, 2),
        load_after=round(os.getloadavg()[0], 2),
    )


def cpu_model() -> str:
    """As the system names it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def slug(name: str) -> str:
    """A machine's name as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
