"""The C target: a network in plain C99, in integers, for microcontrollers."""

from neurodeploy_exporters.c.building import program_of
from neurodeploy_exporters.c.program import CProgram
from neurodeploy_exporters.c.target import CTarget

export = CTarget().write

__all__ = ["CProgram", "CTarget", "export", "program_of"]
