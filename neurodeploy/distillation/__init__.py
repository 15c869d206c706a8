"""Loss terms, one file each. A recipe sums them with weights; adding a method is adding a file and its import."""

from typing import Annotated

from neurodeploy.distillation.attention import Attention as Attention
from neurodeploy.distillation.attention import ClassActivation as ClassActivation
from neurodeploy.distillation.attention import SpikeAttention as SpikeAttention
from neurodeploy.distillation.features import Feature as Feature
from neurodeploy.distillation.features import Laf as Laf
from neurodeploy.distillation.features import SpikeTensor as SpikeTensor
from neurodeploy.distillation.functions import term_function
from neurodeploy.distillation.regularisation import Activity as Activity
from neurodeploy.distillation.regularisation import Logits as Logits
from neurodeploy.distillation.responses import FullRange as FullRange
from neurodeploy.distillation.responses import HeadTail as HeadTail
from neurodeploy.distillation.responses import NoisyLogits as NoisyLogits
from neurodeploy.distillation.responses import Response as Response
from neurodeploy.distillation.responses import SelfDistillation as SelfDistillation
from neurodeploy.distillation.responses import Tet as Tet
from neurodeploy.distillation.synops import SynapticOperations as SynapticOperations
from neurodeploy.distillation.term import CrossEntropy as CrossEntropy
from neurodeploy.distillation.term import LossTerm as LossTerm
from neurodeploy.distillation.term import TeacherOutput as TeacherOutput
from neurodeploy.io.kinds import ByKind

AnyLossTerm = Annotated[LossTerm, ByKind("loss term", "neurodeploy.losses", call=term_function)]
