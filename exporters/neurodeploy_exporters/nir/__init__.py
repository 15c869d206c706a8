"""NIR (neuroir.org): files that other frameworks read, files that they write, and the export target."""

from neurodeploy_exporters.nir.conventions import CONVENTIONS, Convention
from neurodeploy_exporters.nir.dialects import DIALECTS
from neurodeploy_exporters.nir.files import Reading, read, read_with_conventions, write
from neurodeploy_exporters.nir.primitives import NoNirForm
from neurodeploy_exporters.nir.readers import READERS
from neurodeploy_exporters.nir.summary import Summary, summary
from neurodeploy_exporters.nir.target import NirTarget

export = NirTarget().write

__all__ = [
    "CONVENTIONS",
    "DIALECTS",
    "READERS",
    "Convention",
    "NirTarget",
    "NoNirForm",
    "Reading",
    "Summary",
    "export",
    "read",
    "read_with_conventions",
    "summary",
    "write",
]
