"""Verification: what a bundle says is held against itself and its sample, and its files are run in every way there is."""

from neurodeploy_exporters.verify.verification import Verification, verify

__all__ = ["Verification", "verify"]
