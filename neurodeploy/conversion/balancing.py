"""Thresholds of a spiking twin, found on samples in one walk along its layers, and what corrects its rates and logits."""

from copy import deepcopy
from math import log, prod
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurodeploy.conversion.method import OF_LEVELS, Method, usual_delay, usual_method, usual_reset
from neurodeploy.conversion.qcfs import QcfsNetwork
from neurodeploy.conversion.thresholds import positive_percentile, threshold_of_least_error
from neurodeploy.conversion.traced import TracedNetwork, relu_graph
from neurodeploy.conversion.twin import RateCode, SpikingTwin, pooled_first
from neurodeploy.dynamics.neurons import Reset
from neurodeploy.dynamics.surrogates import Surrogate
from neurodeploy.graph import ops
from neurodeploy.io.errors import UserError

_MOST_VALUES = 1 << 26
"""Of one layer over all samples and steps that calibrate it: 256 MiB."""


def spiking(
    ann: nn.Module,
    samples: Tensor | NDArray[Any],
    *,
    steps: int = 4,
    method: Method | None = None,
    repact: bool = False,
    code: RateCode = "direct",
    reset: Reset | None = None,
    surrogate: Surrogate | None = None,
    learn_threshold: bool = False,
    classifier: str | None = None,
    evaluate_after: int | None = None,
    precharge: bool = False,
) -> SpikingTwin:
    """The spiking twin of a trained ReLU network: weights copied, thresholds balanced on samples, rates and logits corrected.

    With hard reset a twin is a start for a training (`neurodeploy.distill`) and close to useless before it; its `notes` say so.
    With soft reset and many steps it answers what the network answers.

    Args:
        ann: any torch module whose activations are ReLUs; left as it is. It is traced, and the graph compared with it on the
            samples. Or a network with QCFS activations (`neurodeploy.qcfs`), whose thresholds the twin takes; it says itself
            where RepAct is.
        samples: `[N, …]` as the module takes them, of the training data; a few hundred are usual.
        steps: T.
        method: how thresholds are found and what is corrected. None: thresholds of the least error of the rates; up to 16
            steps, and with hard reset, shifted and calibrated too, and then the bias of the layer that makes the logits is
            corrected by their mean error over the samples.
        repact: the last ReLU stays, and is applied at every step (RepAct, EnOF-SNN).
        code: "direct" repeats the sample's current, "poisson" draws spikes (values from 0 to 1).
        reset: of the neurons. "soft" keeps what is above the threshold, so that rates become activations as T grows; "hard"
            goes to 0, as Loihi does, and wants a training. None: hard up to 16 steps, where a twin is trained before it is used
            and every target takes it, and soft above, and for a network with QCFS activations.
        surrogate: derivative of the spike in later training.
        learn_threshold: whether later training learns the thresholds too.
        classifier: layer that makes logits of features; the last linear one if None.
        evaluate_after: number of first steps that the mean of the logits leaves out, because neurons fire in them whose
            currents settle below 0 (delayed evaluation, Hwang et al. 2021). None: T/2 with soft reset above 16 steps, else 0.
        precharge: neurons begin at half of their threshold, instead of being given that over the steps by `Method.shift`, and
            later training learns where they begin (Bu et al., AAAI 2022). Without it the first of few steps say nothing, since
            no layer fires before the one below has. For ONNX and C, which run neurons of any kind.

    Returns:
        The twin, on the CPU, in evaluation mode; it trains, deploys and exports like any student.

    Raises:
        UserError: the module does something that has no form in a graph, or that firing rates cannot pass; a layer that no
            sample excites; no step is left to evaluate.
    """
    samples = torch.as_tensor(samples, dtype=torch.float32).detach().cpu()
    levels = ann if isinstance(ann, QcfsNetwork) else None
    if levels is not None:
        repact, classifier, reset = levels.repact, levels.classifier_name, reset or "soft"
        evaluate_after = evaluate_after or 0
    graph = relu_graph(ann, samples) if levels is None else levels.graph_now()
    reset = usual_reset(steps) if reset is None else reset
    twin = SpikingTwin(
        graph,
        steps=steps,
        repact=repact,
        code=code,
        reset=reset,
        surrogate=surrogate,
        learn_threshold=learn_threshold,
        classifier=classifier,
        evaluate_after=usual_delay(steps, reset) if evaluate_after is None else evaluate_after,
        precharge=precharge,
    ).eval()
    if method is None:
        method = usual_method(steps, reset) if levels is None else OF_LEVELS
    reference = TracedNetwork(pooled_first(graph)[0]).eval() if levels is None else deepcopy(levels).cpu().eval()
    balance(twin, reference, samples, method)
    return twin


@torch.no_grad()
def balance(twin: SpikingTwin, reference: TracedNetwork, samples: Tensor, method: Method) -> None:
    """Set the thresholds of a twin, and with `shift` and `calibrate` the offsets of its currents and the bias of its logits.

    Args:
        twin: with the weights of the ReLU network; changed in place.
        reference: the ReLU network, with the twin's names; or that with QCFS activations.
        samples: `[N, …]`.
        method: see `spiking`.

    Raises:
        UserError: a layer that no sample excites.
    """
    graph = twin.graph
    walk = _Walk(twin, reference, _walked(twin, samples)) if method.calibrate or method.thresholds == "spiking" else None
    for node in graph.nodes:
        if isinstance(node, ops.ReluNode) and node.name in twin.spiking:
            threshold = method.scale * _threshold(method, reference, samples, walk, node, twin.steps)
            if node.ceiling is not None:
                threshold = min(threshold, node.ceiling)
            layer = twin.in_thresholds(node.name)
            layer.log_threshold.fill_(log(threshold))
            layer.offset.fill_(1 / (2 * twin.steps) if method.shift and not twin.precharge else 0.0)
            if method.calibrate and walk is not None:
                missing = walk.channel_error(node)
                layer.offset.add_((missing / threshold).to(layer.offset))
        if walk is not None:
            walk.enter(node)
    bias = getattr(twin.get_submodule(graph.output.inputs[0]), "bias", None)
    if method.calibrate and walk is not None and bias is not None:
        bias.add_(walk.logit_error().to(bias))


def _walked(twin: SpikingTwin, samples: Tensor) -> Tensor:
    """As many of the samples as the twin can run on at once."""
    largest = max(prod(twin.graph.shape(node.name)) for node in twin.graph.nodes)
    return samples[: max(1, min(len(samples), _MOST_VALUES // (largest * twin.steps)))]


def _threshold(
    method: Method, reference: TracedNetwork, samples: Tensor, walk: "_Walk | None", node: ops.Node, steps: int
) -> float:
    if method.thresholds == "one":
        return 1.0
    if method.thresholds == "levels":
        if not isinstance(reference, QcfsNetwork):
            raise UserError(
                'conversion thresholds: "levels" found, but the network has no QCFS activations; see neurodeploy.qcfs'
            )
        return reference.thresholds[node.name]
    if method.thresholds == "error":
        found = threshold_of_least_error(lambda: reference.answers_of(node.name, samples), steps)
    elif walk is not None and method.thresholds == "spiking":
        current = walk.read(node)
        found = positive_percentile([current], current.shape[1], method.percentile)
    else:
        found = positive_percentile(reference.answers_of(node.name, samples), len(samples), method.percentile)
    if not found:
        raise UserError(
            f"layer {node.name}: none of its neurons is ever driven above 0 by the {len(samples)} calibration samples; "
            "calibrate with more of the training data, or train the network again"
        )
    return found


class _Walk:
    """Both networks on the same samples, node by node; a tensor is kept until its last reader has read it."""

    def __init__(self, twin: SpikingTwin, reference: TracedNetwork, samples: Tensor) -> None:
        self._twin, self._reference = twin, reference
        self._samples = samples
        self._left = {node.name: len(twin.graph.consumers(node.name)) for node in twin.graph.nodes}
        self._of_twin: dict[str, Tensor] = {}
        self._of_reference: dict[str, Tensor] = {}

    def read(self, node: ops.Node) -> Tensor:
        """The twin's current `[T, N, …]` of an activation."""
        return self._of_twin[node.inputs[0]]

    def channel_error(self, node: ops.Node) -> Tensor:
        """Mean activation of the reference less that of the twin, `[C]`."""
        wanted = self._reference.called(node.name, [self._of_reference[node.inputs[0]]], {})
        answered = self._twin.called(node.name, [self.read(node)], {})
        return _channel_means(wanted) - _channel_means(answered)

    def logit_error(self) -> Tensor:
        """Mean logits of the reference less those of the twin, `[K]`, once every node is entered."""
        last = self._twin.graph.output.inputs[0]
        return _channel_means(self._of_reference[last]) - _channel_means(self._of_twin[last][self._twin.evaluate_after :])

    def enter(self, node: ops.Node) -> None:
        if isinstance(node, ops.OutputNode):
            return
        if isinstance(node, ops.InputNode):
            mine, other = self._twin.entry(self._samples), self._reference.entry(self._samples)
        else:
            mine = self._twin.called(node.name, [self._of_twin[source] for source in node.inputs], {})
            other = self._reference.called(node.name, [self._of_reference[source] for source in node.inputs], {})
        self._of_twin[node.name] = self._twin.entering(node.name, mine)
        self._of_reference[node.name] = other
        for source in node.inputs:
            self._left[source] -= 1
            if not self._left[source]:
                self._of_twin.pop(source, None)
                self._of_reference.pop(source, None)


def _channel_means(values: Tensor) -> Tensor:
    """Mean over T, samples and positions of `[T, N, C, …]`: `[C]`."""
    return values.transpose(0, 2).flatten(1).mean(1, dtype=torch.float64)
