"""Kernels of the multi-step neuron update, all with one signature: `(current, v0, parameters, surrogate) → (spikes, v)`."""

from neurodeploy.kernels.handwritten import low_pass, multi_step

__all__ = ["low_pass", "multi_step"]
