"""Deployment artefacts from a `neurodeploy.graph.Graph`: export targets, their bundles, and verification."""

from neurodeploy_exporters.runtime import Fit, Runtime, Variant
from neurodeploy_exporters.target import Format, Subject, Target, TargetOptions, Tuning, find, names

__all__ = ["Fit", "Format", "Runtime", "Subject", "Target", "TargetOptions", "Tuning", "Variant", "find", "names"]
