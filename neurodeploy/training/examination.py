"""What a user's module computes and where: it is run on a few samples, and the axes of what its layers answer are told."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import gcd
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.io.errors import Failure, UserError
from neurodeploy.io.imports import told
from neurodeploy.networks import NetworkOutput, classifier_of
from neurodeploy.training.evaluation import evaluating
from neurodeploy.training.observed import LayerCall, LayerValue, Layout, Observed, call_of
from neurodeploy.training.parallel import determined
from neurodeploy_energy.count.recognition import neurons_of, reset_states


@dataclass(frozen=True)
class Names:
    """Layers of a module that its user names; what is None is looked for.

    Attributes:
        classifier: the layer that maps features to logits; the last `nn.Linear` that is called, if it gives the answer.
        features: the layer whose output is the features; what the classifier reads, if None.
        taps: tap → layer whose output it is; spiking layers and `nn.ReLU` by their own names, if None.
    """

    classifier: str | None = None
    features: str | None = None
    taps: Mapping[str, str] | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        given = (self.classifier, self.features, *(self.taps or {}).values())
        return tuple(name for name in given if name is not None)


_LOOKED_FOR = Names()


@contextmanager
def observed(module: nn.Module, samples: Tensor, *, what: str, names: Names = _LOOKED_FOR) -> Iterator[Observed]:
    """Make a module answer with a `NetworkOutput` inside, and be as it was afterwards.

    It is run on two and on three samples: how the shapes differ tells which axis is the batch. The states of neurons of other
    frameworks are set back before each forward pass.

    Args:
        module: answers with logits `[B, K]`, or `[T, B, K]`, or with a `NetworkOutput` of its own.
        samples: `[N, …]`, at least one, as the module takes them and on its device.
        what: "student" or "teacher", for messages.
        names: layers that are not to be looked for.

    Raises:
        UserError: the module does not take the samples, answers something else, or differently the second time; or a layer
            that is named does not exist, is not called, or its axes cannot be told.
    """
    seen = _Examination(module, samples, what, names).result()
    with nullcontext() if seen.native else seen.hooked():
        yield seen


@dataclass
class _Trial:
    """One forward pass.

    Attributes:
        answer: of the module.
        calls: layer → its calls.
        order: layers in the order of their calls, one entry for each.
    """

    answer: Any = None
    calls: dict[str, list[LayerCall]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)


class _Examination:
    """Three trials of a module, and what follows from them."""

    def __init__(self, module: nn.Module, samples: Tensor, what: str, names: Names) -> None:
        self.module, self.what, self.names = module, what, names
        compiled = type(module).__name__ == "OptimizedModule" or module._compiled_call_impl is not None
        if compiled or isinstance(module, torch.jit.ScriptModule):
            raise UserError(f"{what}: compiled, and its layers cannot be seen; give the module as it was before")
        self.modules = dict(module.named_modules())
        for name in names.layers:
            self._check_exists(name)
        three = samples[torch.arange(3) % len(samples)]
        self.two, self.three = self._run(three[:2]), self._run(three)
        self._check_answer(three)
        again = self._run(three)
        if not torch.allclose(_logits(again.answer), _logits(self.three.answer), rtol=1e-3, atol=1e-5):
            raise UserError(
                f"{what}: answers the same samples differently the second time; begin its forward pass from a fresh state"
            )
        self._samples = three

    def _check_exists(self, name: str) -> None:
        if not name or name not in self.modules:
            near = get_close_matches(name, [one for one in self.modules if one], n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else f" (there are: {', '.join([*self.modules][1:13])})"
            raise UserError(f"{self.what}: no layer {name!r}{hint}")

    def _run(self, x: Tensor) -> _Trial:
        """In evaluation mode, under the same random draws each time; the module is left as it was."""
        trial = _Trial()
        candidates = [name for name in self.modules if self._is_candidate(name)]
        handles = [self.modules[name].register_forward_hook(_keeper(trial, name)) for name in candidates]
        try:
            reset_states(self.module)
            with evaluating(self.module), torch.no_grad(), determined("examination"):
                trial.answer = self.module(x)
        except (UserError, Failure):
            raise
        except Exception as error:  # the user's own code may raise anything
            shape = f"{tuple(x.shape[1:])} ({str(x.dtype).removeprefix('torch.')})"
            raise UserError(f"{self.what}: does not take samples of shape {shape}: {told(error)}") from None
        finally:
            for handle in handles:
                handle.remove()
            reset_states(self.module)
        return trial

    def _is_candidate(self, name: str) -> bool:
        layer = self.modules[name]
        return bool(name) and (name in self.names.layers or isinstance(layer, nn.Linear | nn.ReLU) or _fires(layer))

    def _check_answer(self, x: Tensor) -> None:
        answer, batch = self.three.answer, len(x)
        if isinstance(answer, NetworkOutput):
            if self.names.layers:
                taps = ", ".join(answer.taps)
                raise UserError(
                    f"{self.what}: names its features and taps itself ({taps}); leave features, classifier, taps out"
                )
        elif not isinstance(answer, Tensor):
            raise UserError(
                f"{self.what}: answers with a {type(answer).__name__}, logits [B, K] or [T, B, K] expected; wrap it in a "
                "module that returns them"
            )
        elif answer.ndim not in (2, 3) or (self.two.answer.shape[-2], answer.shape[-2]) != (2, batch):
            shape = f"{list(answer.shape)} for {batch} samples"
            raise UserError(f"{self.what}: answers with the shape {shape}, logits [B, K] or [T, B, K] expected")
        logits = _logits(answer)
        if logits.shape[-1] < 2 or not logits.is_floating_point():
            found = f"{logits.shape[-1]} values of {str(logits.dtype).removeprefix('torch.')}"
            raise UserError(f"{self.what}: answers with {found} a sample, a logit for each of two classes or more expected")
        if not torch.isfinite(logits).all():
            raise UserError(f"{self.what}: answers with values that are not finite; check its weights")

    def result(self) -> Observed:
        answer = self.three.answer
        classes = _logits(answer).shape[-1]
        if isinstance(answer, NetworkOutput):
            classify = classifier_of(self.module)
            return Observed(self.module, classes, tuple(answer.taps), classify, native=True)
        self._loops = self._loops_over_time()
        absent: dict[str, str] = {}
        features, step_logits, classify = self._classifier(absent)
        tapped = self._taps(absent)
        return Observed(self.module, classes, tuple(tapped), classify, absent, tapped, features, step_logits)

    def _loops_over_time(self) -> int:
        """How often the module calls its layers for one sample: T, if it has a loop over time; else 1."""
        counts = [len(calls) for name, calls in self.three.calls.items() if self._axes(name) == "step"]
        if counts:
            return gcd(*counts)
        last = self._last_linear()
        calls = [] if last is None else [call.answer for call in self.three.calls[last]]
        return len(calls) if len(calls) > 1 and self._is_the_answer(torch.stack(calls)) else 1

    def _last_linear(self) -> str | None:
        return next((name for name in reversed(self.three.order) if isinstance(self.modules[name], nn.Linear)), None)

    def _gives_the_answer(self, name: str) -> bool:
        try:
            return self._is_the_answer(self._arranged(self._only_value(name)))
        except UserError:
            return False

    def _is_the_answer(self, values: Tensor) -> bool:
        """Whether their mean over time is what the module answers."""
        found, logits = values.mean(0), _logits(self.three.answer)
        return found.shape == logits.shape and torch.allclose(found, logits, rtol=1e-3, atol=1e-5)

    def _classifier(self, absent: dict[str, str]) -> tuple[LayerValue | None, LayerValue | None, nn.Module | None]:
        """Where features and logits of each step are, and the layer between them."""
        name = self.names.classifier or self._last_linear()
        if name is None:
            absent["features"] = f"the {self.what} calls no nn.Linear; name the layer that maps features to logits: classifier="
            return None, None, None
        gives = self._gives_the_answer(name)
        if self.names.classifier is None and not gives:
            absent["features"] = (
                f"the last nn.Linear of the {self.what}, {name}, does not give its answer; name the one that does: classifier="
            )
            return None, None, None
        at, read = (name, True) if self.names.features is None else (self.names.features, False)
        features = self._only_value(at, read=read)
        sample = self._arranged(features)
        layer = self.modules[name]
        try:
            with torch.no_grad():
                width = layer(sample[0]).shape[-1] if sample.ndim == 3 else 0
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{self.what}: classifier {name} does not take the features of layer {at}: {told(error)}") from None
        classes = _logits(self.three.answer).shape[-1]
        if width != classes:
            shape = tuple(sample.shape[2:])
            raise UserError(
                f"{self.what}: classifier {name} makes {width} values of features {shape}, {classes} of a vector expected"
            )
        return features, self._only_value(name) if gives else None, layer

    def _taps(self, absent: dict[str, str]) -> dict[str, LayerValue]:
        if self.names.taps is not None:
            found: dict[str, LayerValue] = {}
            for tap, layer in self.names.taps.items():
                found |= _numbered(tap, self._values(layer))
            return found
        tapped: dict[str, LayerValue] = {}
        for name in dict.fromkeys(self.three.order):
            if _fires(self.modules[name]) or isinstance(self.modules[name], nn.ReLU):
                try:
                    tapped |= _numbered(name, self._values(name))
                except UserError as error:
                    absent["taps"] = str(error)
        if not tapped:
            absent.setdefault("taps", f"the {self.what} calls no spiking layer and no nn.ReLU; name layers with taps=")
        return tapped

    def _only_value(self, name: str, *, read: bool = False) -> LayerValue:
        values = self._values(name, read=read)
        if len(values) != 1:
            raise UserError(f"{self.what}: layer {name} is called {len(values)} times in a step, once expected; name another")
        return values[0]

    def _values(self, name: str, *, read: bool = False) -> list[LayerValue]:
        """Where what a layer answers is seen: one for each of its calls in a time step.

        Raises:
            UserError: it is not called, its answer is changed in place later, or its axes cannot be told.
        """
        count = len(self.three.calls.get(name, ()))
        if count == 0:
            raise UserError(f"{self.what}: layer {name} is not called on the samples; name one that is")
        if count % self._loops:
            raise UserError(
                f"{self.what}: layer {name} is called {count} times, a multiple of its {self._loops} steps expected"
            )
        every = count // self._loops
        values = [LayerValue(name, self._layout(name, first, read=read), first, every, read) for first in range(every)]
        for value in values:
            value.raw(self.three.calls)  # which must be what the layer answered
        return values

    def _axes(self, name: str) -> str | None:
        neurons = neurons_of(self.modules[name])
        return None if neurons is None else neurons.axes

    def _layout(self, name: str, first: int, *, read: bool) -> Layout:
        one, other = (
            call.read if read else call.answer for call in (self.two.calls[name][first], self.three.calls[name][first])
        )
        assert one is not None
        assert other is not None
        differing = [axis for axis, (a, b) in enumerate(zip(one.shape, other.shape, strict=False)) if a != b]
        if one.ndim == other.ndim and len(differing) == 1:
            axis, two, three = differing[0], one.shape[differing[0]], other.shape[differing[0]]
            if (axis, two, three) == (0, 2, 3):
                return "step" if self._loops > 1 else self._within(other)
            if (axis, two, three) == (1, 2, 3) and self._loops == 1:
                return "time first"
            if axis == 0 and 3 * two == 2 * three and self._loops == 1:
                return self._folded(name, first, read=read)
        shapes = f"{list(one.shape)} for two samples and {list(other.shape)} for three"
        raise UserError(f"{self.what}: layer {name} has values of shape {shapes}, of which no axis is the batch; name another")

    def _within(self, value: Tensor) -> Layout:
        """Of values whose first axis is the batch: whether another is time, as the neurons of the module have it."""
        for name, calls in self.three.calls.items():
            axes, steps = self._axes(name), calls[0].answer.shape
            if axes == "batch first" and value.ndim > 2 and value.shape[1] == steps[1]:
                return "batch first"
            if axes == "time last" and value.ndim > 2 and value.shape[-1] == steps[-1]:
                return "time last"
        return "once"

    def _folded(self, name: str, first: int, *, read: bool) -> Layout:
        """Batch and time in one axis: which of them runs faster shows when the samples change places."""
        turned = self._run(self._samples.roll(1, 0))
        before, after = (trial.calls[name][first] for trial in (self.three, turned))
        for layout in ("flat, time first", "flat"):
            place = LayerValue(name, layout, first, len(self.three.calls[name]), read)
            values = [place.arranged([call.read if read else call.answer], 3) for call in (before, after)]  # type: ignore[list-item]
            if torch.allclose(values[0].roll(1, 1), values[1], rtol=1e-3, atol=1e-5):
                return layout
        raise UserError(f"{self.what}: layer {name} has batch and time in one axis, in no order that can be told; name another")

    def _arranged(self, place: LayerValue) -> Tensor:
        return place.arranged(place.raw(self.three.calls), 3)


def _keeper(trial: _Trial, name: str) -> Any:
    def hook(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        trial.calls.setdefault(name, []).append(call_of(inputs, output))
        trial.order.append(name)

    return hook


def _fires(module: nn.Module) -> bool:
    neurons = neurons_of(module)
    return neurons is not None and neurons.fires


def _logits(answer: Any) -> Tensor:
    if isinstance(answer, NetworkOutput):
        return answer.logits
    logits: Tensor = answer.mean(0) if answer.ndim == 3 else answer
    return logits


def _numbered(tap: str, values: list[LayerValue]) -> dict[str, LayerValue]:
    """A second use of a layer gets a number."""
    return {tap if i == 0 else f"{tap}#{i + 1}": value for i, value in enumerate(values)}
