"""An exported model as a graph again: its operators are those of `operators.py`, each of them named like its node."""

from dataclasses import dataclass
from pathlib import Path

import onnx

from neurodeploy.graph import Graph, ops
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx.model import named_tensors, read
from neurodeploy_exporters.onnx.operators import READ
from neurodeploy_exporters.onnx.reader import Reader
from neurodeploy_exporters.onnx.recurrence import DOMAIN
from neurodeploy_exporters.onnx.writer import STATES


@dataclass(frozen=True, eq=False)
class Members:
    """The nodes of a model.

    Attributes:
        inputs: of a whole network its Input; of a part the tensors that enter it, as if each were one.
        nodes: in order of computation; a model that makes logits ends with an Output.
    """

    inputs: tuple[ops.InputNode, ...]
    nodes: tuple[ops.Node, ...]


def read_graph(path: Path) -> Graph:
    """The network in a model of the whole, such as `whole.onnx`.

    Raises:
        UserError: the file is damaged, was not written by this toolkit, or holds a part of a network.
    """
    members = read_members(path)
    try:
        return Graph([*members.inputs, *members.nodes])
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_members(path: Path) -> Members:
    """The nodes in a model of a network, or of a part of one.

    Raises:
        UserError: the file is damaged, or was not written by this toolkit; the message names the operator.
    """
    data, _, weights = read(path)
    model = onnx.ModelProto.FromString(data)
    reader = Reader(path, model, named_tensors(str(path), model, STATES), weights)
    found = [node for op in reader.operators if (node := _node(reader, op, model.producer_name)) is not None]
    return Members(tuple(reader.inputs()), tuple(found))


def _node(reader: Reader, op: onnx.NodeProto, producer: str) -> ops.Node | None:
    what = f"{reader.path}: operator {op.name or '?'} ({op.op_type})"
    kind = op.op_type if op.domain == "" else op.op_type.split("_")[0] if op.domain == DOMAIN else ""
    rule = READ.get(kind)
    if rule is None or producer != "neurodeploy":
        raise UserError(f"{what}: written by {producer or 'another program'!r}; a model that neurodeploy has exported expected")
    try:
        return rule(reader, op)
    except (KeyError, ValueError, IndexError, TypeError, StopIteration, UserError) as error:
        reason = str(error) if isinstance(error, UserError) else "not as neurodeploy writes it"
        raise UserError(f"{what}: {reason}; export the model again") from None
