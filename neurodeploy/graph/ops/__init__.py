"""The operations of a network, one file each: `ops.ConvNode`, `ops.NeuronNode` … See `Operation` for what each of them says."""

from neurodeploy.graph.ops.add import AddNode as AddNode
from neurodeploy.graph.ops.batch_norm import BatchNormNode as BatchNormNode
from neurodeploy.graph.ops.cell import CellNode as CellNode
from neurodeploy.graph.ops.cell import MembraneNode as MembraneNode
from neurodeploy.graph.ops.concat import ConcatNode as ConcatNode
from neurodeploy.graph.ops.conv import ConvNode as ConvNode
from neurodeploy.graph.ops.conv_transpose import ConvTransposeNode as ConvTransposeNode
from neurodeploy.graph.ops.delay import DelayNode as DelayNode
from neurodeploy.graph.ops.fixed_point import FixedPointNeuronNode as FixedPointNeuronNode
from neurodeploy.graph.ops.flatten import FlattenNode as FlattenNode
from neurodeploy.graph.ops.linear import LinearNode as LinearNode
from neurodeploy.graph.ops.low_pass import LowPassNode as LowPassNode
from neurodeploy.graph.ops.neuron import NeuronNode as NeuronNode
from neurodeploy.graph.ops.normalize import NormalizeNode as NormalizeNode
from neurodeploy.graph.ops.operation import ADDED as ADDED
from neurodeploy.graph.ops.operation import Array as Array
from neurodeploy.graph.ops.operation import Call as Call
from neurodeploy.graph.ops.operation import Moving as Moving
from neurodeploy.graph.ops.operation import Nodes as Nodes
from neurodeploy.graph.ops.operation import Operation as Operation
from neurodeploy.graph.ops.operation import Range as Range
from neurodeploy.graph.ops.operation import Recurrent as Recurrent
from neurodeploy.graph.ops.operation import Shape as Shape
from neurodeploy.graph.ops.operation import Spiking as Spiking
from neurodeploy.graph.ops.operation import Weights as Weights
from neurodeploy.graph.ops.operation import content as content
from neurodeploy.graph.ops.operation import fires as fires
from neurodeploy.graph.ops.operation import operations as operations
from neurodeploy.graph.ops.operation import over_steps as over_steps
from neurodeploy.graph.ops.operation import traced as traced
from neurodeploy.graph.ops.pad import PadNode as PadNode
from neurodeploy.graph.ops.pool import AvgPoolNode as AvgPoolNode
from neurodeploy.graph.ops.pool import MaxPoolNode as MaxPoolNode
from neurodeploy.graph.ops.quantize import QuantizeNode as QuantizeNode
from neurodeploy.graph.ops.relu import ReluNode as ReluNode
from neurodeploy.graph.ops.reshape import PermuteNode as PermuteNode
from neurodeploy.graph.ops.reshape import ReshapeNode as ReshapeNode
from neurodeploy.graph.ops.slice import SliceNode as SliceNode
from neurodeploy.graph.ops.synapse import Weighted as Weighted
from neurodeploy.graph.ops.terminals import EncodeNode as EncodeNode
from neurodeploy.graph.ops.terminals import InputNode as InputNode
from neurodeploy.graph.ops.terminals import OutputNode as OutputNode
from neurodeploy.graph.ops.time_mean import TimeMeanNode as TimeMeanNode

Node = Operation
