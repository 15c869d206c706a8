"""The deployment bundle: a folder with the artefacts, a sample that verifies them, and a manifest that describes both."""

from neurodeploy_exporters.bundle.bundle import Bundle, describe, read_bundle, write_bundle
from neurodeploy_exporters.bundle.claims import (
    Agreement,
    BundleProvenance,
    HeadCost,
    HeadCut,
    InputEffect,
    InputGrid,
    InputNormalization,
    MeasuredAccuracy,
    ModuleAgreement,
    MutationScore,
)
from neurodeploy_exporters.bundle.manifest import (
    MANIFEST,
    SAMPLE,
    GradedTensor,
    Manifest,
    Piece,
    SampleEntry,
    SpikingLayer,
    StepModel,
)
from neurodeploy_exporters.bundle.sample import Sample, sample_of

__all__ = [
    "MANIFEST",
    "SAMPLE",
    "Agreement",
    "Bundle",
    "BundleProvenance",
    "GradedTensor",
    "HeadCost",
    "HeadCut",
    "InputEffect",
    "InputGrid",
    "InputNormalization",
    "Manifest",
    "MeasuredAccuracy",
    "ModuleAgreement",
    "MutationScore",
    "Piece",
    "Sample",
    "SampleEntry",
    "SpikingLayer",
    "StepModel",
    "describe",
    "read_bundle",
    "sample_of",
    "write_bundle",
]
