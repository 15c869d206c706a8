"""NIR (neuroir.org): files that other frameworks read, files that they write, and the export target."""

from neurodeploy_exporters.nir.conventions import CONVENTIONS, Convention
from neurodeploy_exporters.nir.files import Reading, read, read_with_conventions, write
from neurodeploy_exporters.nir.primitives import NoNirForm
from neurodeploy_exporters.nir.target import NirTarget

export = NirTarget().write

__all__ = ["CONVENTIONS", "Convention", "NirTarget", "NoNirForm", "Reading", "export", "read", "read_with_conventions", "write"]
