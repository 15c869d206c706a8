"""A body for Loihi in SANA-FE, an architecture simulator that runs as a program in an environment of its own."""

from neurodeploy_exporters.lava.sanafe.bodies import simulate_body

__all__ = ["simulate_body"]
