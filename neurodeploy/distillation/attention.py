"""Loss terms on where networks look: attention maps of layers (LaSNN), of spikes, and class activation maps."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from neurodeploy.distillation.taps import TapNames, TapPairs, Taps, spatial_pairs, spatial_taps
from neurodeploy.distillation.term import TaughtTerm, TeacherOutput, soft_divergence
from neurodeploy.io.errors import UserError
from neurodeploy.networks import NetworkOutput


def attention_levels(
    kind: str, student: Taps, teacher: Taps, named: tuple[str, ...] | Mapping[str, str] | None
) -> tuple[tuple[str, str], ...]:
    """Student's and teacher's tap of each level.

    Args:
        kind: of the term, for the error message.
        student, teacher: their taps.
        named: names that both networks have, or student's tap → teacher's; None for the lowest, the middle and the highest of
            the spatial taps that both have.

    Raises:
        UserError: as `spatial_taps` and `spatial_pairs`.
    """
    if isinstance(named, Mapping):
        return spatial_pairs(kind, student, teacher, named)
    names = spatial_taps(kind, student, teacher, named)
    if named is None:
        names = tuple(names[i] for i in sorted({0, (len(names) - 1) // 2, len(names) - 1}))
    return tuple((name, name) for name in names)


def map_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """`‖S/‖S‖₂ − Q/‖Q‖₂‖₂` of the vectorised maps, the mean over the batch; Q is the teacher's map.

    Where the resolutions differ, the teacher's map is interpolated to the student's (bilinear, pixel centres aligned).

    Args:
        student: `[B, H, W]`, not negative.
        teacher: `[B, H', W']`, not negative; no gradient flows to it.
    """
    wanted = teacher.detach()
    if wanted.shape != student.shape:
        wanted = interpolate(wanted.unsqueeze(1), student.shape[-2:], mode="bilinear", align_corners=False).squeeze(1)
    return torch.linalg.vector_norm(normalize(student.flatten(1)) - unit_vectors(wanted.flatten(1)), dim=1).mean()


def unit_vectors(rows: Tensor) -> Tensor:
    """`[B, N]`, not negative → each row divided by its L2 norm; a row of zeros stays so.

    Gradients of a confident teacher are far below the floor of `normalize`, so that each row is scaled to maximum 1 first.
    """
    return normalize(rows / rows.amax(1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny))


class Attention(TaughtTerm):
    """`Σ_l ‖F(A_T,l) − F(A_S,l)‖₂`, the mean over the batch, with `A_S` the student's firing rate and `A_T` the activation.

    Variant "map": `F(A) = Σ_c A_c²` at every pixel, vectorised and divided by its L2 norm; `map_distance` says how
    resolutions that differ are met. Variant "scalar": F also sums over the pixels, which leaves one number per sample.
    Variant "mean-square": `F(A) = 1/(C H W) Σ_c Σ_hw A_c²`, one number per sample as it is, divided by no norm: rates and
    activations are compared in their own units, so that the student should have the teacher's (see `conversion`).

    Source: LaSNN (Hong et al., arXiv 2304.09101). "mean-square" is its eq. 6 as it is printed, the mean of |A|² over channels
    and pixels, which has no normalisation; the map and its L2 norm are those of Zagoruyko & Komodakis (ICLR 2017). Three levels
    and the weight α/2 with α = 0.9 are printed in the paper. Our working form: "scalar", which taps the levels are, the
    interpolation, the mean over the batch, and that the scalars of a batch are divided by their common L2 norm (each divided by
    its own would always be 1; so a batch of one sample adds nothing in this variant).

    Attributes:
        weight: α/2.
        variant: "map", "scalar" or "mean-square".
        taps: the levels l, as names that both networks have, or as a table of the student's tap → the teacher's; the lowest,
            middle and highest shared spatial tap if not given.
    """

    needs_taps: ClassVar[bool] = True
    kind: Literal["attention"] = "attention"
    weight: float = Field(default=0.45, ge=0, allow_inf_nan=False)
    variant: Literal["map", "scalar", "mean-square"] = "map"
    taps: TapNames | TapPairs | None = None

    def _compare(self, student: NetworkOutput, teacher: TeacherOutput) -> Tensor:
        seen, wanted = student.taps, teacher.output.taps
        distance = {"map": _of_maps, "scalar": _of_scalars, "mean-square": _of_mean_squares}[self.variant]
        levels = attention_levels(self.kind, seen, wanted, self.taps)
        return torch.stack([distance(seen[own], wanted[other]) for own, other in levels]).sum()


def _of_maps(student: Tensor, teacher: Tensor) -> Tensor:
    return map_distance(_attention(student), _attention(teacher))


def _attention(tap: Tensor) -> Tensor:
    """`Σ_c A_c²` of the mean over time: `[T, B, C, H, W]` → `[B, H, W]`."""
    return tap.mean(0).square().sum(1)


def _of_scalars(student: Tensor, teacher: Tensor) -> Tensor:
    """Distance of the maps' sums over pixels, `[B]` each, both scaled to L2 norm 1."""
    seen, wanted = _attention(student).sum((1, 2)), _attention(teacher.detach()).sum((1, 2))
    return torch.linalg.vector_norm(normalize(seen, dim=0) - normalize(wanted, dim=0))


def _of_mean_squares(student: Tensor, teacher: Tensor) -> Tensor:
    """`|F(A_T) − F(A_S)|` with F the mean of A² over channels and pixels, the mean over the batch."""
    seen, wanted = (tap.mean(0).square().mean((1, 2, 3)) for tap in (student, teacher.detach()))
    return (seen - wanted).abs().mean()


class SpikeAttention(TaughtTerm):
    """`Σ_l ‖Q_l/‖Q_l‖₂ − S_l/‖S_l‖₂‖₂` of vectorised maps, the mean over the batch.

    Teacher: `Q = Σ_c |∂L/∂x_c|` at every pixel of the tap, L its cross-entropy with the labels. Student: the spike activation
    map `S = mean_t Σ_c Σ_{t' ∈ O} e^{−|t − t'|} o_c(t)`, with O the steps at which that neuron fires: all of them, t included,
    or the previous ones alone, `t' < t`. So bursts weigh more than scattered spikes; of previous times alone a neuron that
    fires once adds nothing. With RepAct the last tap has the ReLU's values instead of spikes.

    Source: LaSNN (Hong et al., arXiv 2304.09101), whose eq. 7 is the gradient `∂L/∂x` and eq. 8 the spike activation map, after
    Kim & Panda (2021, arXiv 2103.14441) over the previous firing times: `times = "previous"`. Our working form, since the
    paper leaves them open: the sum of sizes over channels, the mean over time, the L2-normalised distance (that of the map in
    `Attention`), and `times = "all"`, which also has a value at one time step.

    Attributes:
        times: O, "all" firing times of the run or the "previous" ones.
        taps: the levels l, as names that both networks have, or as a table of the student's tap → the teacher's; the lowest,
            middle and highest shared spatial tap if not given.
    """

    needs_teacher_gradients: ClassVar[bool] = True
    needs_taps: ClassVar[bool] = True
    kind: Literal["spike-attention"] = "spike-attention"
    times: Literal["all", "previous"] = "all"
    taps: TapNames | TapPairs | None = None

    def _compare(self, student: NetworkOutput, teacher: TeacherOutput) -> Tensor:
        assert teacher.tap_gradients is not None
        seen, gradients = student.taps, teacher.tap_gradients
        if self.times == "previous" and len(student.step_logits) == 1:
            raise UserError(
                f'{self.kind}: one time step found, at least 2 expected with times = "previous" (the first has none before '
                'it); raise steps, or say times = "all"'
            )
        levels = attention_levels(self.kind, seen, gradients, self.taps)
        maps = [
            (_spike_activation(seen[own], previous=self.times == "previous"), gradients[other].abs().mean(0).sum(1))
            for own, other in levels
        ]
        return torch.stack([map_distance(*pair) for pair in maps]).sum()


def _spike_activation(spikes: Tensor, *, previous: bool) -> Tensor:
    """`mean_t Σ_c o_c(t) Σ_{t'} e^{−|t − t'|} o_c(t')`, over all t' or `t' < t`: `[T, B, C, H, W]` → `[B, H, W]`."""
    times = torch.arange(spikes.shape[0], device=spikes.device, dtype=spikes.dtype)
    closeness = (-(times[:, None] - times[None, :]).abs()).exp()
    if previous:
        closeness = closeness.tril(-1)
    return (spikes * torch.tensordot(closeness, spikes, dims=1)).sum(2).mean(0)


class ClassActivation(TaughtTerm):
    """`τ² KL(softmax(M_T/τ) ‖ softmax(M_S/τ))` over the pixels of the last spatial tap, the mean over the batch.

    Teacher: the class activation map `M_T = ReLU(Σ_c w_c a_c)`, with w the classifier's weights of the class that the teacher
    predicts. Student: the spike activation map `M_S = Σ_t Σ_c s_c(t)`. Both are scaled to 0 … 1 by the batch's minimum and
    maximum, `(M − min M) / (max(M − min M) + 10⁻³)`.

    Source: SAMD of CKDSNN (Liu et al., AAAI 2026, arXiv 2511.06902). Maps and scaling as in the authors' public code, the
    divergence and τ = 2 as quoted from the paper (which names Grad-CAM for the teacher's map: the same map, up to scale, if
    global average pooling and a linear classifier follow).

    Attributes:
        temperature: τ.
    """

    needs_taps: ClassVar[bool] = True
    needs_features: ClassVar[bool] = True
    kind: Literal["class-activation"] = "class-activation"
    temperature: float = Field(default=2.0, gt=0, allow_inf_nan=False)

    def _compare(self, student: NetworkOutput, teacher: TeacherOutput) -> Tensor:
        name = spatial_taps(self.kind, student.taps, teacher.output.taps)[-1]
        seen, wanted = student.taps[name].sum((0, 2)), self._class_activation(name, teacher)
        if seen.shape != wanted.shape:
            raise UserError(
                f"{self.kind}: the maps of tap {name} have the size {tuple(seen.shape[1:])} in the student and "
                f"{tuple(wanted.shape[1:])} in the teacher, equal ones expected; use the term attention, which interpolates"
            )
        return soft_divergence(_scaled(seen).flatten(1), _scaled(wanted).flatten(1), self.temperature)

    def _class_activation(self, name: str, teacher: TeacherOutput) -> Tensor:
        """`ReLU(Σ_c w_c a_c)` of the predicted class: `[B, H, W]`.

        The classifier is affine, so that its answer to one pixel less its answer to zero is that sum.
        """
        pixels = teacher.output.taps[name].detach().mean(0).movedim(1, -1)
        width = teacher.output.features.shape[-1]
        if pixels.shape[-1] != width:
            raise UserError(
                f"{self.kind}: the teacher's classifier reads {width} features, its last spatial tap {name} has "
                f"{pixels.shape[-1]} channels; a network with global average pooling before its classifier expected"
            )
        with torch.no_grad():
            scores = teacher.classify(pixels) - teacher.classify(torch.zeros_like(pixels[:1, :1, :1]))
        predicted = teacher.output.logits.argmax(-1)
        return scores[torch.arange(len(predicted), device=predicted.device), :, :, predicted].relu()


def _scaled(maps: Tensor) -> Tensor:
    above = maps - maps.min()
    return above / (above.max() + 1e-3)
