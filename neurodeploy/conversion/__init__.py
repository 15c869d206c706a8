"""From a trained ReLU network to a spiking network, without training: of one definition, or any network's twin."""

from neurodeploy.conversion.balancing import spiking
from neurodeploy.conversion.convert import convert, initialise
from neurodeploy.conversion.method import Method
from neurodeploy.conversion.qcfs import Qcfs, QcfsNetwork, qcfs
from neurodeploy.conversion.traced import TracedNetwork, traced_network
from neurodeploy.conversion.twin import SpikingTwin

__all__ = [
    "Method",
    "Qcfs",
    "QcfsNetwork",
    "SpikingTwin",
    "TracedNetwork",
    "convert",
    "initialise",
    "qcfs",
    "spiking",
    "traced_network",
]
