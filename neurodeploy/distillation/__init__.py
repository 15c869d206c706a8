"""Loss terms, one file each. A recipe sums them with weights; adding a method is adding a file and its import."""

from typing import Annotated

from neurodeploy.distillation.activity import Activity as Activity
from neurodeploy.distillation.attention import Attention as Attention
from neurodeploy.distillation.class_activation import ClassActivation as ClassActivation
from neurodeploy.distillation.cross_entropy import CrossEntropy as CrossEntropy
from neurodeploy.distillation.feature import Feature as Feature
from neurodeploy.distillation.full_range import FullRange as FullRange
from neurodeploy.distillation.head_tail import HeadTail as HeadTail
from neurodeploy.distillation.laf import Laf as Laf
from neurodeploy.distillation.logits import Logits as Logits
from neurodeploy.distillation.noisy_logits import NoisyLogits as NoisyLogits
from neurodeploy.distillation.response import Response as Response
from neurodeploy.distillation.self_distillation import SelfDistillation as SelfDistillation
from neurodeploy.distillation.spike_attention import SpikeAttention as SpikeAttention
from neurodeploy.distillation.spike_tensor import SpikeTensor as SpikeTensor
from neurodeploy.distillation.term import LossTerm as LossTerm
from neurodeploy.distillation.term import TeacherOutput as TeacherOutput
from neurodeploy.kinds import ByKind

AnyLossTerm = Annotated[LossTerm, ByKind()]
