"""Kernels of the multi-step neuron update, all with one signature: `(current, v0, parameters, surrogate) → (spikes, v)`."""

from neurodeploy.kernels.handwritten import multi_step

__all__ = ["multi_step"]
