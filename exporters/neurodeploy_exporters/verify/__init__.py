"""Verification: what a bundle says is held against itself and its sample, and its files are run in every way there is."""

from neurodeploy_exporters.verify.outcome import Verification
from neurodeploy_exporters.verify.verification import verify

__all__ = ["Verification", "verify"]
