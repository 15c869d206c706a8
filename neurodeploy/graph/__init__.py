"""The network as data: typed nodes, batch-norm folding, reference interpreter, partition. All of it numpy alone.

`graph.tracing` (torch module → graph) and `graph.module` (graph → torch module) are imported by their own names, so that a
graph can be read and exported without loading torch.
"""

from neurodeploy.graph.graph import Graph
from neurodeploy.graph.partition import Part, Partition, partition
from neurodeploy.graph.scales import fold_scales
from neurodeploy.graph.transforms import fold_batch_norm, fold_padding

__all__ = ["Graph", "Part", "Partition", "fold_batch_norm", "fold_padding", "fold_scales", "partition"]
