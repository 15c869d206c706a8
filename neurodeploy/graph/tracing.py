"""From a torch module to a graph: torch.fx, with the layers that operations know (`neurodeploy.graph.ops`) as leaves."""

from typing import Any

from torch import fx, nn

from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.graph.ops import Call, Node, Nodes, Shape, traced
from neurodeploy.graph.ops.operation import FUNCTIONS, LAYERS, REFUSED_LAYERS
from neurodeploy.io.errors import UserError
from neurodeploy.networks import NetworkOutput


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return bool(_known(m)) or super().is_leaf_module(m, module_qualified_name)


class _Builder:
    """Nodes so far, and the shapes that they need of each other."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.shapes: dict[str, Shape] = {}
        self.timed: dict[str, bool] = {}

    def add(self, node: Node) -> str:
        self.shapes[node.name] = node.checked_shape([self.shapes[source] for source in node.inputs])
        self.timed[node.name] = node.is_timed([self.timed[source] for source in node.inputs])
        self.nodes[node.name] = node
        return node.name


def trace(network: nn.Module, sample_shape: Shape, *, timed: bool = False) -> Graph:
    """Turn a torch module into a graph, with the weights that it has now, as it computes in evaluation mode.

    The module may return a `NetworkOutput` (its logits are the graph's output) or one tensor `[B, K]`.

    Args:
        network: built of layers that operations are `traced` from: the toolkit's, and some of torch's.
        sample_shape: `(C, H, W)`, `(C, L)` or `(N,)` of one sample.
        timed: True if the module is called with sequences, `[T, B, *sample_shape]`, or `[B, T, *sample_shape]` where it
            begins with an `EventInput`; the graph's input is `[T, B, *sample_shape]` then.

    Raises:
        UserError: the module has control flow that depends on data, or an operation without a rule; the message names it.
    """
    was_training = network.training
    network.eval()
    try:
        recorded = _Tracer().trace(network)
    except UserError:
        raise
    except Exception as error:  # torch.fx raises whatever the user's forward raises on symbolic values
        raise UserError(
            f"{type(network).__name__}: cannot be traced ({error}); its forward must be a fixed sequence of layers, without "
            "loops or branches that depend on values or shapes"
        ) from None
    finally:
        network.train(was_training)
    builder, names = _Builder(), dict[fx.Node, str]()
    for node in recorded.nodes:
        if node.op == "output":
            return _finished(builder, _answer(node, names))
        if node.op == "placeholder":
            if builder.nodes:
                raise UserError(f"{type(network).__name__}: takes a second input, {node.name}; one is expected")
            names[node] = builder.add(ops.InputNode(name="input", shape=sample_shape, timed=timed))
        elif node.target is not NetworkOutput:
            call = _call(builder, node, names)
            made = _of_layer(builder, network, node, call) if node.op == "call_module" else _of_function(node, call)
            names[node] = [call.inputs[0] if call.inputs else "", *map(builder.add, made)][-1]
    raise UserError(f"{type(network).__name__}: its forward returns nothing")


def _call(builder: _Builder, node: fx.Node, names: dict[fx.Node, str]) -> Call:
    inputs: list[str] = []
    fx.node.map_arg((node.args, node.kwargs), lambda read: inputs.append(names[read]))
    return Call(
        name=str(node.target) if node.op == "call_module" else node.name,
        inputs=tuple(inputs),
        shapes=tuple(builder.shapes[name] for name in inputs),
        timed=tuple(builder.timed[name] for name in inputs),
        arguments=tuple(value for value in node.args if not isinstance(value, fx.Node)),
        keywords={key: value for key, value in node.kwargs.items() if not isinstance(value, fx.Node)},
    )


def _of_layer(builder: _Builder, network: nn.Module, node: fx.Node, call: Call) -> Nodes:
    layer = network.get_submodule(str(node.target))
    if call.name in builder.nodes:
        raise UserError(f"layer {call.name}: is called twice; give each call a layer of its own")
    known = _known(layer)
    if known in LAYERS:
        return LAYERS[known](layer, call)
    if known in REFUSED_LAYERS:
        raise UserError(f"layer {call.name} ({type(layer).__name__}): has no form in a graph; {REFUSED_LAYERS[known]}")
    raise UserError(
        f"layer {call.name} ({type(layer).__module__}.{type(layer).__qualname__}): has no form in a graph; "
        f"supported are {', '.join(_supported())}"
    )


def _of_function(node: fx.Node, call: Call) -> Nodes:
    target: Any = node.target
    module = getattr(target, "__module__", None) or "torch"  # of functions in torch's C extension
    rule = FUNCTIONS.get(f"Tensor.{target}" if node.op == "call_method" else f"{module}.{getattr(target, '__name__', target)}")
    if rule is None:
        raise UserError(
            f"operation {node.name} ({node.target}): has no form in a graph; use a layer of neurodeploy.dynamics.layers"
        )
    return rule(call)


def _known(layer: nn.Module) -> str:
    """The name of the class that a layer goes by: its own, or the next one that it derives from; empty if there is none."""
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(layer).__mro__)
    return next((name for name in names if name in LAYERS or name in REFUSED_LAYERS), "")


def _supported() -> list[str]:
    """The layers that have a form: torch's by their short names, others with their module's."""
    known = ((name.split(".")[0], *name.split(".")[-2:]) for name in LAYERS)
    return sorted(f"nn.{kind}" if package == "torch" else f"{module}.{kind}" for package, module, kind in known)


@traced("torch.nn.modules.linear.Identity", "torch.nn.modules.dropout.Dropout", "torch.nn.modules.dropout.Dropout2d")
def _nothing(_: nn.Module, _call: Call) -> Nodes:
    return []


def _answer(node: fx.Node, names: dict[fx.Node, str]) -> str:
    answer: Any = node.args[0]
    if isinstance(answer, fx.Node) and answer.target is NetworkOutput:
        answer = answer.args[NetworkOutput._fields.index("logits")]
    if not isinstance(answer, fx.Node):
        raise UserError(f"output: {type(answer).__name__} found, one tensor or a NetworkOutput expected")
    return names[answer]


def _finished(builder: _Builder, answer: str) -> Graph:
    builder.add(ops.OutputNode(name="logits", inputs=(answer,)))
    needed, pending = set(), ["logits", "input"]
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending.extend(builder.nodes[name].inputs)
    return Graph(node for name, node in builder.nodes.items() if name in needed)
