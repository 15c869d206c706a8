"""Loss terms, one file each. A recipe sums them with weights; adding a method is adding a file and its name below."""

from typing import Annotated

from pydantic import Field

from neurodeploy.distillation.activity import Activity
from neurodeploy.distillation.attention import Attention
from neurodeploy.distillation.class_activation import ClassActivation
from neurodeploy.distillation.cross_entropy import CrossEntropy
from neurodeploy.distillation.feature import Feature
from neurodeploy.distillation.full_range import FullRange
from neurodeploy.distillation.head_tail import HeadTail
from neurodeploy.distillation.laf import Laf
from neurodeploy.distillation.logits import Logits
from neurodeploy.distillation.noisy_logits import NoisyLogits
from neurodeploy.distillation.response import Response
from neurodeploy.distillation.self_distillation import SelfDistillation
from neurodeploy.distillation.spike_attention import SpikeAttention
from neurodeploy.distillation.spike_tensor import SpikeTensor
from neurodeploy.distillation.term import LossTerm, TeacherOutput

AnyLossTerm = Annotated[
    CrossEntropy
    | Response
    | Laf
    | Feature
    | Attention
    | SpikeAttention
    | SpikeTensor
    | FullRange
    | HeadTail
    | ClassActivation
    | NoisyLogits
    | SelfDistillation
    | Activity
    | Logits,
    Field(discriminator="kind"),
]

__all__ = [
    "Activity",
    "AnyLossTerm",
    "Attention",
    "ClassActivation",
    "CrossEntropy",
    "Feature",
    "FullRange",
    "HeadTail",
    "Laf",
    "Logits",
    "LossTerm",
    "NoisyLogits",
    "Response",
    "SelfDistillation",
    "SpikeAttention",
    "SpikeTensor",
    "TeacherOutput",
]
