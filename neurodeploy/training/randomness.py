"""Random draws that depend on nothing but names and numbers, so that an interrupted run can be resumed exactly."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def determined(*parts: object) -> Iterator[None]:
    """Torch's random generators seeded by `parts` inside, and left as they were outside."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    with torch.random.fork_rng():
        torch.manual_seed(int.from_bytes(digest[:7], "big"))
        yield
