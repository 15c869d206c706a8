"""From a trained ReLU network to a spiking network of the same definition, without training."""

from neurodeploy.conversion.convert import Method, convert, initialise

__all__ = ["Method", "convert", "initialise"]
