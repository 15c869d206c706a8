"""Gradient attention: the student's spikes cluster where the teacher's loss is sensitive."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from neurodeploy.distillation.attention_map import attention_levels, map_distance
from neurodeploy.distillation.taps import TapNames
from neurodeploy.distillation.term import LossTerm, TeacherOutput
from neurodeploy.networks import NetworkOutput


class SpikeAttention(LossTerm):
    """`Σ_l ‖Q_l/‖Q_l‖₂ − S_l/‖S_l‖₂‖₂` of vectorised maps, the mean over the batch.

    Teacher: `Q = Σ_c |∂L/∂x_c|` at every pixel of the tap, L its cross-entropy with the labels. Student: the spike activation
    map `S = mean_t Σ_c Σ_{t' ∈ O} e^{−|t − t'|} o_c(t)`, where O holds all the steps at which that neuron fires, t included;
    so bursts weigh more than scattered spikes. With RepAct the ReLU's values stand in the last tap for spikes.

    Source: LaSNN (Hong et al., arXiv 2304.09101) prints the gradient `∂L/∂x` and the spike activation map. Our working form,
    since the paper leaves them open: the sum of sizes over channels, the mean over time, the L2-normalised distance (that of
    its activation attention) and that O is the whole run, not only the past.

    Attributes:
        taps: the levels l; the lowest, middle and highest shared spatial tap if not given.
    """

    needs_teacher: ClassVar[bool] = True
    needs_teacher_gradients: ClassVar[bool] = True
    kind: Literal["spike-attention"] = "spike-attention"
    taps: TapNames | None = None

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        assert teacher is not None
        assert teacher.tap_gradients is not None
        seen, gradients = student.taps, teacher.tap_gradients
        names = attention_levels(self.kind, seen, gradients, self.taps)
        distances = [map_distance(_spike_activation(seen[name]), gradients[name].abs().mean(0).sum(1)) for name in names]
        return torch.stack(distances).sum()


def _spike_activation(spikes: Tensor) -> Tensor:
    """`mean_t Σ_c o_c(t) Σ_{t'} e^{−|t − t'|} o_c(t')`: `[T, B, C, H, W]` → `[B, H, W]`."""
    times = torch.arange(spikes.shape[0], device=spikes.device, dtype=spikes.dtype)
    closeness = (-(times[:, None] - times[None, :]).abs()).exp()
    return (spikes * torch.tensordot(closeness, spikes, dims=1)).sum(2).mean(0)
