"""From a torch module to a graph: the module runs on samples, and what it does to them is recorded (see `recording`)."""

from neurodeploy.graph.tracing.answers import FIRST as FIRST
from neurodeploy.graph.tracing.answers import AnswerChoice as AnswerChoice
from neurodeploy.graph.tracing.entrance import Entrance as Entrance
from neurodeploy.graph.tracing.entrance import canonical as canonical
from neurodeploy.graph.tracing.entrance import chosen as chosen
from neurodeploy.graph.tracing.entrance import entrance_of as entrance_of
from neurodeploy.graph.tracing.entrance import lead_of as lead_of
from neurodeploy.graph.tracing.following import follow as follow
from neurodeploy.graph.tracing.recording import Recording as Recording
from neurodeploy.graph.tracing.trace import trace as trace
from neurodeploy.graph.tracing.trace import traced as traced
