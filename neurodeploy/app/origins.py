"""What the place of a model names, by its ending: known before anything is imported that reads it."""

from pathlib import Path


def is_nir(source: str | Path) -> bool:
    """Whether a model's place is that of a NIR file."""
    return str(source).endswith(".nir")


def is_chip_file(source: str | Path) -> bool:
    """Whether a model's place is that of a `.net` or circuit file for Loihi."""
    return str(source).endswith((".net", ".circuit"))
