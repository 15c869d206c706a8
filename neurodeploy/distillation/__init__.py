"""Loss terms, one file each. A recipe sums them with weights; adding a method is adding a file and its name below."""

from typing import Annotated

from pydantic import Field

from neurodeploy.distillation.activity import Activity
from neurodeploy.distillation.cross_entropy import CrossEntropy
from neurodeploy.distillation.laf import Laf
from neurodeploy.distillation.logits import Logits
from neurodeploy.distillation.response import Response
from neurodeploy.distillation.term import LossTerm, TeacherOutput

AnyLossTerm = Annotated[CrossEntropy | Response | Laf | Activity | Logits, Field(discriminator="kind")]

__all__ = ["Activity", "AnyLossTerm", "CrossEntropy", "Laf", "Logits", "LossTerm", "Response", "TeacherOutput"]
