"""A ReLU network whose activations have few levels: trained at the cost of a ReLU network, then converted to as many steps.

What a conversion at T steps loses, above all, is that a rate of T steps has T + 1 values. A network that is trained with
activations of L + 1 values has lost that already, and made up for it; its spiking twin with T ≈ L steps then answers nearly
what it answers, at once or after a short training, while an epoch of it costs what one of the ReLU network costs, not T times
that (Bu et al., ICLR 2022: "Optimal ANN-SNN conversion for high-accuracy and ultra-low-latency spiking neural networks").
"""

from math import exp, log
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurodeploy.conversion import bfloat16
from neurodeploy.conversion.bfloat16 import ScaledValue
from neurodeploy.conversion.thresholds import positive_percentile, threshold_of_least_error
from neurodeploy.conversion.traced import TracedNetwork, relu_graph
from neurodeploy.conversion.twin import check_rates, pooled_first
from neurodeploy.dynamics.kernels import bfloat16 as kernel
from neurodeploy.dynamics.scaling import spread
from neurodeploy.graph import Graph, ops
from neurodeploy.graph.module import place
from neurodeploy.io.errors import UserError

MOST_LEVELS = 4096


class _Levels(torch.autograd.Function):
    """`Qcfs`, with a gradient that takes one pass over the activations where autograd would take one for every operation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, log_threshold: Tensor, levels: int) -> Tensor:
        step = spread(log_threshold.exp() / levels, x)
        scaled = x / step
        y = torch.add(scaled, 0.5).floor_().clamp_(0, levels).mul_(step)
        ctx.save_for_backward(scaled, y, step)
        ctx.levels, ctx.dtype = levels, x.dtype
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        scaled, y, step = ctx.saved_tensors
        inside = torch.ops.aten.hardtanh_backward(grad, scaled, 0.0, float(ctx.levels))
        by_threshold = None
        if ctx.needs_input_grad[1]:  # of ln θ: θ times what is with respect to θ
            others = [axis for axis in range(grad.ndim) if axis != 2 or step.numel() == 1]
            by_threshold = (grad * y - inside * scaled * step).sum(others).reshape(-1)
        return inside.to(ctx.dtype), by_threshold, None


class Qcfs(nn.Module):
    """`y = θ/L · clip(floor(x L/θ + 1/2), 0, L)`, the quantisation-clip-floor-shift activation (Bu et al. 2022, eq. 16).

    Its gradient takes `floor` for the identity, as there: 1 with respect to x where nothing is clipped, and
    `(y − x [0 < x < θ]) / θ` with respect to θ, where x is what the clip lets pass.

    Args:
        levels: L.
        channels: C, for a threshold of each channel; None for one of the layer.
    """

    def __init__(self, levels: int, channels: int | None = None) -> None:
        super().__init__()
        self.levels = levels
        self.log_threshold = nn.Parameter(torch.zeros(1 if channels is None else channels))

    def forward(self, x: Tensor) -> Tensor:
        """`[T, B, C, …]` → the same shape."""
        y: Tensor = _Levels.apply(x, self.log_threshold, self.levels)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


class QcfsNetwork(TracedNetwork):
    """A ReLU network with QCFS activations in place of its ReLUs; everything else, and every weight, is as in it.

    It trains like any network (`neurodeploy.distill`), and `neurodeploy.spiking` makes its spiking twin: with its thresholds,
    and half of one added over the T steps.

    Args:
        graph: of the ReLU network, batch norm folded.
        levels: L, the number of levels above 0.
        repact: the last ReLU stays as it is, for a twin with RepAct.
        classifier: see `TracedNetwork`.

    Attributes:
        quantized: names of the layers with QCFS activations, in order.

    Raises:
        UserError: there is no ReLU, a layer that firing rates cannot pass, or a number of levels out of range.
    """

    def __init__(self, graph: Graph, *, levels: int, repact: bool = False, classifier: str | None = None) -> None:
        if not 1 <= levels <= MOST_LEVELS:
            raise UserError(f"levels: {levels} found, a whole number from 1 to {MOST_LEVELS} expected")
        check_rates(graph)
        super().__init__(pooled_first(graph)[0], classifier=classifier)
        self.levels, self.repact = levels, repact
        self.quantized = self.activations[:-1] if repact else self.activations
        for name in self.quantized:
            place(self, name, Qcfs(levels))

    @property
    def taught(self) -> tuple[str, ...]:
        return self.quantized

    @property
    def suits_bfloat16(self) -> bool:
        return self.levels <= kernel.MOST_LEVELS and bfloat16.convolves(self.graph)

    def scaled_activation(self, name: str, current: ScaledValue) -> tuple[ScaledValue, ScaledValue]:
        layer = self.activation(name)
        step = layer.log_threshold.exp() / self.levels
        factor, offset = current.charging(1 / step)
        level = kernel.levels(current.x, factor, offset, self.levels)
        value = ScaledValue(level, current.steps, step)
        return value, value

    def activation(self, name: str) -> Qcfs:
        """The activation of a layer."""
        found = self.get_submodule(name)
        assert isinstance(found, Qcfs)
        return found

    @property
    def thresholds(self) -> dict[str, float]:
        """Layer → θ, the largest value that it answers."""
        return {name: exp(self.activation(name).log_threshold.item()) for name in self.quantized}

    def with_relus(self) -> TracedNetwork:
        """The ReLU network with the weights as they are now, on the CPU, in evaluation mode."""
        plain = TracedNetwork(self.graph, classifier=self.classifier_name)
        own = {f"{name}.log_threshold" for name in self.quantized}
        plain.load_state_dict({name: values for name, values in self.state_dict().items() if name not in own})
        return plain.eval()

    def extra_repr(self) -> str:
        return f"levels={self.levels}, repact={self.repact}"


@torch.no_grad()
def qcfs(
    ann: nn.Module,
    samples: Tensor | NDArray[Any],
    *,
    levels: int = 4,
    percentile: float | None = None,
    repact: bool = False,
    classifier: str | None = None,
) -> QcfsNetwork:
    """A trained ReLU network with activations of few levels, to be trained a little more and then converted.

    ```python
    quantized = nd.qcfs(ann, samples, levels=4)
    nd.distill(quantized, ann, train_set, epochs=3, folder="runs/quantized")
    student = nd.spiking(quantized, samples, steps=4)
    ```

    Args:
        ann: any torch module whose activations are ReLUs; left as it is. It is traced, and the graph compared with it on the
            samples.
        samples: `[N, …]` as the module takes them, of the training data; thresholds begin where they suit these.
        levels: L; about the T of the spiking twin.
        percentile: of the positive activations, above 0 and at most 100, as the first thresholds; None: those with the least
            squared error of the levels.
        repact: the last ReLU stays as it is, for a twin with RepAct.
        classifier: layer that makes logits of features; the last linear one if None.

    Returns:
        On the CPU, in evaluation mode.

    Raises:
        UserError: the module does something that has no form in a graph, or that firing rates cannot pass; a layer that no
            sample excites.
    """
    if percentile is not None and not 0 < percentile <= 100:
        raise UserError(f"percentile: {percentile} found, a number above 0 and at most 100 expected")
    samples = torch.as_tensor(samples, dtype=torch.float32).detach().cpu()
    network = QcfsNetwork(relu_graph(ann, samples), levels=levels, repact=repact, classifier=classifier).eval()
    set_first_thresholds(network, samples, percentile)
    return network


@torch.no_grad()
def set_first_thresholds(network: QcfsNetwork, samples: Tensor, percentile: float | None = None) -> None:
    """Begin with thresholds that suit samples; see `qcfs`.

    Args:
        network: with the weights of its ReLU network, on the CPU; changed in place.
        samples: `[N, …]`.
        percentile: of the positive activations; None for those with the least squared error.

    Raises:
        UserError: a layer that no sample excites.
    """
    reference = network.with_relus()
    for node in network.graph.of(ops.ReluNode):
        if node.name in network.quantized:
            threshold = _first_threshold(reference, node.name, samples, network.levels, percentile)
            if node.ceiling is not None:
                threshold = min(threshold, node.ceiling)
            network.activation(node.name).log_threshold.fill_(log(threshold))


def _first_threshold(network: TracedNetwork, layer: str, samples: Tensor, levels: int, percentile: float | None) -> float:
    if percentile is None:
        found = threshold_of_least_error(lambda: network.answers_of(layer, samples), levels, nearest=True)
    else:
        found = positive_percentile(network.answers_of(layer, samples), len(samples), percentile)
    if not found:
        raise UserError(
            f"layer {layer}: none of {len(samples)} calibration samples drives it above 0; calibrate with more of the "
            "training data, or train the network again"
        )
    return found
