"""Models of one time step, for runtimes that know no `Scan`: plain operators on tensors of fixed sizes, no axis of time.

Every state is an input and an output; all begin with zeros. Whoever runs such a model calls it once per step and hands the
states on. What goes through time is the body of its `Scan`, each operator once; rules of a single step's own are below.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from neurodeploy.graph import Graph, Part, ops
from neurodeploy.io.errors import UserError
from neurodeploy.io.version import VERSION
from neurodeploy_exporters.bundle import Bundle, StepModel
from neurodeploy_exporters.onnx.external import WeightsFile
from neurodeploy_exporters.onnx.half import half_parameters, halved
from neurodeploy_exporters.onnx.inlining import FunctionCall, inlined, inner_names, unrolled
from neurodeploy_exporters.onnx.operators import OPERATIONS, STEP_OPERATIONS
from neurodeploy_exporters.onnx.runtime import Session
from neurodeploy_exporters.onnx.writer import OPSET, SPIKE_COUNTS, STATES, Grid, Writer

STEP = "step"
"""Key of the metadata: the number of samples of a model of one step."""


class StepWriter(Writer):
    """Writes tensors `[B, …]` of one step.

    Args:
        batch: B, the number of samples.
        graph, inputs, grids, opset, weights, half: of `Writer`.
    """

    def __init__(
        self,
        graph: Graph,
        inputs: tuple[str, ...],
        batch: int,
        *,
        grids: Mapping[str, Grid] | None,
        opset: int,
        weights: WeightsFile | None,
        half: bool,
    ) -> None:
        form: dict[str, Any] = {"grids": grids, "opset": opset, "weights": weights, "half": half}
        super().__init__(graph, inputs, frozenset(), streaming=True, **form)
        self.batch = batch

    def made_timed(self, name: str) -> bool:  # noqa: ARG002
        return False

    def timed(self, name: str) -> str:
        return name

    def initial(self, before: str, after: str, sequence: str, of: str) -> str:  # noqa: ARG002
        return self.state(before, after, [self.batch, *self.graph.shape(of)])

    def beginning(self, before: str, after: str, sequence: str, of: str, value: str) -> str:
        entering, begun = f"{of}.begun0", f"{of}.begun"
        if self.first(begun):
            self.state(entering, begun, [1])
            self.operator("Max", [entering, self.number("one", 1.0)], begun)
            self.operator("Greater", [entering, self.number("zero", 0.0)], f"{of}.has_begun")
        state = self.initial(before, after, sequence, of)
        return self.operator("Where", [f"{of}.has_begun", state, value], f"{before}.begun")

    def call(self, function: onnx.FunctionProto, inputs: list[str], output: str, *states: str, **attributes: float) -> str:
        """Add the operators of one step of a function; its numbers become constants, and sizes are known."""
        sizes = (self.batch, *self.graph.shape(output))
        call = FunctionCall(function.name, tuple(inputs), (output, *states), attributes, sizes)
        members = unrolled(inlined(call, function))
        members = halved(members, output) if self.half else members
        for name in (output, *states, *inner_names(members, (output, *states))):
            self._take(name)
        for member in members:
            if member.op_type == "Constant":
                (value,) = member.attribute
                numbers = np.float32(value.f) if value.type == onnx.AttributeProto.FLOAT else numpy_helper.to_array(value.t)
                self.constants[member.output[0]] = numpy_helper.from_array(np.asarray(numbers), member.output[0])
            elif member.op_type == "Shape":  # in a step all tensors are of one shape
                shape = np.array(sizes, np.int64)
                self.constants[member.output[0]] = numpy_helper.from_array(shape, member.output[0])
            else:
                self.operators.append(member)
        return output

    def number(self, name: str, value: float) -> str:
        """A number that several layers may share."""
        return self.constant(name, np.float32(value)) if self.first(f"number {name}") else name

    def single(self, name: str, value: float) -> str:
        """A number in float32, in half precision too."""
        self._take(name)
        self.constants[name] = numpy_helper.from_array(np.asarray(value, np.float32), name)
        return name

    def write(self, node: ops.Node) -> None:
        """Add the operators of a node."""
        rules = STEP_OPERATIONS if node.sequential else OPERATIONS
        rules[node](self, node)


def build_step(
    graph: Graph,
    part: Part | None = None,
    *,
    name: str,
    batch: int = 1,
    spike_counts: bool = False,
    grids: Mapping[str, Grid] | None = None,
    opset: int = OPSET,
    weights: WeightsFile | None = None,
    half: bool = False,
) -> onnx.ModelProto:
    """The ONNX model of one time step of a graph, or of one part of it.

    All sizes are fixed. Inputs: `input`, `[B, …]`, a static sample or one step of a sequence; of a later part the tensors that
    it reads. Outputs: `logits` `[B, K]`, those of all steps so far, or what leaves the part. Then the states, one input and one
    output each, as in `build` with `streaming`; the metadata's `states` is a JSON object, input → output. All begin with zeros.
    Means over time count their steps in float32, up to 2²⁴. Where a mean skips the first steps, the logits are zeros until
    then, and where it is of the last ones, the steps before the first count as zeros.

    Args:
        graph: the network.
        part: which of it; all if None.
        name: of the model.
        batch: B, the number of samples.
        spike_counts: for every spiking layer an output `<layer>.spikes` more, float32 `[B]`: spikes of the step.
        grids: of `build`.
        opset, weights, half: of `build`.

    Raises:
        UserError: a node has no form in ONNX, or none in a model of one step; the message names it.
    """
    members = tuple(node.name for node in graph.nodes if not isinstance(node, ops.InputNode)) if part is None else part.members
    inputs = (graph.input.name,) if part is None else part.inputs
    outputs = (graph.output.name,) if part is None else part.outputs
    writer = StepWriter(graph, inputs, batch, grids=grids, opset=opset, weights=weights, half=half)
    for member in members:
        writer.write(graph[member])
    counts = {layer: _count(writer, layer) for layer in graph.spiking if layer in members} if spike_counts else {}

    def value(tensor: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(tensor, writer.kind, [batch, *graph.shape(tensor)])

    read = {name for op in writer.operators for name in op.input}
    counted = [helper.make_tensor_value_info(count, TensorProto.FLOAT, [batch]) for count in counts.values()]
    body = helper.make_graph(
        writer.operators,
        name,
        [*map(value, inputs), *writer.state_inputs],
        [*map(value, outputs), *counted, *writer.state_outputs],
        [tensor for name, tensor in writer.constants.items() if name in read],  # an update need not read all its arrays
        value_info=[value(member) for member in members if member not in outputs],
    )
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(body, opset_imports=imports, producer_name="neurodeploy", producer_version=VERSION)
    model.ir_version = helper.find_min_ir_version_for(imports)
    facts = {STEP: str(batch), STATES: json.dumps(writer.states)}
    helper.set_model_props(model, facts | ({SPIKE_COUNTS: json.dumps(counts)} if counts else {}))
    return model


def _count(writer: StepWriter, layer: str) -> str:
    axes = np.arange(1, 1 + len(writer.graph.shape(layer)), dtype=np.int64)
    spikes = writer.operator("Cast", [layer], f"{layer}.single", to=TensorProto.FLOAT) if writer.half else layer
    return writer.operator("ReduceSum", [spikes, writer.constant(f"{layer}.axes", axes)], f"{layer}.spikes", keepdims=0)


@STEP_OPERATIONS.rule(ops.EncodeNode)
def _encode(writer: StepWriter, node: ops.EncodeNode) -> None:
    """A static sample is the same in every step."""
    means = [name for name in writer.graph.ancestors(node.name) if isinstance(writer.graph[name], ops.TimeMeanNode)]
    if means:
        raise UserError(
            f"node {node.name} (Encode): shows the mean {means[0]} again, which is known after the last step alone; export "
            "without --step"
        )
    writer.operator("Identity", [node.inputs[0]], node.name)


@STEP_OPERATIONS.rule(ops.NeuronNode)
def _neuron(writer: StepWriter, node: ops.NeuronNode) -> None:
    """`dynamics.neurons.neuron_step`, operation by operation."""
    name, parameters = node.name, node.parameters
    v0 = writer.initial(f"{name}.v0", f"{name}.v", node.inputs[0], name)
    if writer.half:
        half_parameters(name, parameters)
    kept = writer.operator("Mul", [v0, writer.constant(f"{name}.decay", np.float32(parameters.decay))], f"{name}.kept")
    threshold = writer.constant(f"{name}.threshold", np.float32(parameters.threshold))
    h = writer.operator("Add", [kept, node.inputs[0]], f"{name}.h")
    fires = writer.operator("Greater", [h, threshold], f"{name}.fires")
    writer.operator("Cast", [fires], name, to=writer.kind)
    match parameters.reset:
        case "hard":
            silent = writer.operator("Sub", [writer.number("one", 1.0), name], f"{name}.silent")
            writer.operator("Mul", [h, silent], f"{name}.v")
        case "soft":
            fallen = writer.operator("Mul", [name, threshold], f"{name}.subtracted")
            writer.operator("Sub", [h, fallen], f"{name}.v")
        case "none":
            writer.operator("Identity", [h], f"{name}.v")


@STEP_OPERATIONS.rule(ops.DelayNode)
def _delay(writer: StepWriter, node: ops.DelayNode) -> None:
    """The values of the last steps wait in a state `[L, B, …]`, the oldest first."""
    name, sizes = node.name, [writer.batch, *writer.graph.shape(node.name)]
    waiting = writer.state(f"{name}.waiting0", f"{name}.waiting", [node.steps, *sizes])

    def whole(key: str, *numbers: int) -> str:
        return writer.constant(f"{name}.{key}", np.array(numbers, np.int64))

    latest = writer.operator("Reshape", [node.inputs[0], whole("one_step", 1, *sizes)], f"{name}.latest")
    both = writer.operator("Concat", [waiting, latest], f"{name}.both", axis=0)
    first, second, end = whole("first", 0), whole("second", 1), whole("end", node.steps + 1)
    if node.each is None:
        late = writer.operator("Slice", [both, first, second, first], f"{name}.oldest")
    else:
        places = np.broadcast_to(node.steps - node.each, (1, *sizes))
        late = writer.operator("GatherElements", [both, writer.constant(f"{name}.places", places)], f"{name}.late", axis=0)
    writer.operator("Reshape", [late, whole("sample", *sizes)], name)
    writer.operator("Slice", [both, second, end, first], f"{name}.waiting")


@STEP_OPERATIONS.rule(ops.TimeMeanNode)
def _time_mean(writer: StepWriter, node: ops.TimeMeanNode) -> None:
    """The mean so far."""
    (source,), name = node.inputs, node.name
    sizes: list[int | str] = [writer.batch, *writer.graph.shape(name)]
    if node.skip < 0:
        _last_mean(writer, node)
        return
    total, count, single = f"{name}.sum", f"{name}.steps", TensorProto.FLOAT  # in half precision steps end at 2,048
    one = writer.single(f"{name}.one", 1.0)
    source = writer.operator("Cast", [source], f"{name}.single", to=single) if writer.half else source
    total0 = writer.state(f"{total}0", total, sizes, kind=single)
    writer.operator("Add", [writer.state(f"{count}0", count, [1], kind=single), one], count)
    divisor = count
    if node.skip:  # the first steps count as nothing
        skip = writer.single(f"{name}.skip", node.skip)
        behind = writer.operator("Sub", [count, skip], f"{name}.behind")
        counts = writer.operator("Greater", [behind, writer.single(f"{name}.zero", 0.0)], f"{name}.is_behind")
        share = writer.operator("Cast", [counts], f"{name}.counts", to=single)
        source = writer.operator("Mul", [source, share], f"{name}.counted")
        divisor = writer.operator("Max", [behind, one], f"{name}.divisor")
    writer.operator("Add", [total0, source], total)
    mean = writer.operator("Div", [total, divisor], f"{name}.so_far" if writer.half else name)
    if writer.half:
        writer.operator("Cast", [mean], name, to=writer.kind)


def _last_mean(writer: StepWriter, node: ops.TimeMeanNode) -> None:
    """The mean of the last steps: those before this one wait, each in a state of its own."""
    name, latest = node.name, node.inputs[0]
    sizes: list[int | str] = [writer.batch, *writer.graph.shape(name)]
    waiting = -node.skip - 1
    states = [writer.state(f"{name}.last0.{number}", f"{name}.last.{number}", sizes) for number in range(waiting)]
    total = latest
    for number, state in enumerate(states):
        total = writer.operator("Add", [total, state], f"{name}.sum.{number}")
        following = [*states[1:], latest][number]
        writer.operator("Identity", [following], f"{name}.last.{number}")
    writer.operator("Div", [total, writer.constant(f"{name}.count", np.float32(-node.skip))], name)


@STEP_OPERATIONS.rule(ops.OutputNode)
def _output(writer: StepWriter, node: ops.OutputNode) -> None:
    writer.operator("Identity", [node.inputs[0]], node.name)


def step_model(graph: Graph, part: Part | None, model: onnx.ModelProto) -> StepModel:
    """The manifest's entry of a model of `build_step`."""
    name = "whole" if part is None else part.name
    inputs, outputs = ((graph.input.name,), (graph.output.name,)) if part is None else (part.inputs, part.outputs)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    values: dict[str, Any] = {"name": name, "file": f"{name}.step.onnx", "format": "onnx", "inputs": inputs, "outputs": outputs}
    sequences = tuple(tensor for tensor in (*inputs, *outputs) if graph.timed(tensor))
    values |= {"batch": int(facts[STEP]), "sequences": sequences, "states": json.loads(facts[STATES])}
    return StepModel.model_validate(values)


def run_steps(
    session: Session, model: StepModel, tensors: Mapping[str, NDArray[Any]], steps: int, layers: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Call a model of one step for each step, batch after batch.

    Args:
        session: of the model, with the layers among its tensors.
        model: what the manifest says of it.
        tensors: at least the inputs: sequences `[T, N, …]`, others `[N, …]`.
        steps: T.
        layers: spiking layers whose spikes are wanted.

    Returns:
        Outputs and layers by name: sequences `[T, N, …]`, others `[N, …]`, as they are after the last step.

    Raises:
        UserError: an input is missing or of another shape, or the states of manifest and model differ.
    """
    if session.states != model.states:
        raise UserError(f"{session.origin}: states: other ones found than the manifest says")
    lacking = [name for name in model.inputs if name not in tensors]
    if lacking:
        raise UserError(f"{session.origin}: input {lacking[0]} is missing")
    axes = {name: int(name in model.sequences) for name in model.inputs}
    count = tensors[model.inputs[0]].shape[axes[model.inputs[0]]]
    batches = []
    for start in range(0, count, model.batch):  # the last batch is filled up with its last sample
        places = np.minimum(np.arange(start, start + model.batch), count - 1)
        batches.append(
            _steps_of(session, model, {name: tensors[name].take(places, axes[name]) for name in axes}, steps, layers)
        )
    timed = {*layers, *model.sequences}
    whole = {name: np.concatenate([each[name] for each in batches], int(name in timed)) for name in (*model.outputs, *layers)}
    return {name: value[:, :count] if name in timed else value[:count] for name, value in whole.items()}


def _steps_of(
    session: Session, model: StepModel, tensors: Mapping[str, NDArray[Any]], steps: int, layers: Sequence[str]
) -> dict[str, NDArray[Any]]:
    states: dict[str, NDArray[Any]] = {}
    made: list[dict[str, NDArray[Any]]] = []
    for step in range(steps):
        now = {name: value[step] if name in model.sequences else value for name, value in tensors.items()}
        answers = session.run(now | states)
        states = {before: answers[after] for before, after in model.states.items()}
        made.append({name: answers[name] for name in (*model.outputs, *layers)})
    timed = {*layers, *model.sequences}
    return {name: np.stack([each[name] for each in made]) if name in timed else made[-1][name] for name in made[-1]}


def replay_steps(
    bundle: Bundle, model: StepModel, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """See `Format.replay_steps`."""
    session = Session(bundle.path(model.file), also=layers)
    return run_steps(session, model, tensors, bundle.manifest.steps, layers)
