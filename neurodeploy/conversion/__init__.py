"""From a trained ReLU network to a spiking network of the same definition, without training."""

from neurodeploy.conversion.convert import convert, initialise
from neurodeploy.conversion.method import Method

__all__ = ["Method", "convert", "initialise"]
