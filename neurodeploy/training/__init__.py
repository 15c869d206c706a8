"""Training of the networks of a recipe, on CPU or GPU, in one process or several."""

from neurodeploy.training.loop import CHECKPOINT, METRICS, Watch, train
from neurodeploy.training.parallel import leave
from neurodeploy.training.teacher import ask, freeze

__all__ = ["CHECKPOINT", "METRICS", "Watch", "ask", "freeze", "leave", "train"]
