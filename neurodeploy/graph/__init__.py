"""The network as data: typed nodes, tracing from torch, batch-norm folding, reference interpreter, partition."""

from neurodeploy.graph.graph import Graph
from neurodeploy.graph.partition import Part, Partition, partition

__all__ = ["Graph", "Part", "Partition", "partition"]
