"""The deployment bundle: a folder with the artefacts, a sample that verifies them, and a manifest that describes both."""

from neurodeploy_exporters.bundle.bundle import Bundle, Sample, describe, read_bundle, sample_of, write_bundle
from neurodeploy_exporters.bundle.manifest import (
    MANIFEST,
    SAMPLE,
    Agreement,
    GradedTensor,
    HeadCost,
    HeadCut,
    InputEffect,
    InputGrid,
    InputNormalization,
    Manifest,
    MeasuredAccuracy,
    ModuleAgreement,
    Piece,
    SampleEntry,
    SpikingLayer,
)

__all__ = [
    "MANIFEST",
    "SAMPLE",
    "Agreement",
    "Bundle",
    "GradedTensor",
    "HeadCost",
    "HeadCut",
    "InputEffect",
    "InputGrid",
    "InputNormalization",
    "Manifest",
    "MeasuredAccuracy",
    "ModuleAgreement",
    "Piece",
    "Sample",
    "SampleEntry",
    "SpikingLayer",
    "describe",
    "read_bundle",
    "sample_of",
    "write_bundle",
]
