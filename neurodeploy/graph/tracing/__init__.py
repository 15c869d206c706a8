"""From a torch module to a graph: the module runs on samples, and what it does to them is recorded (see `recording`)."""

from neurodeploy.graph.tracing.recording import Recording as Recording
from neurodeploy.graph.tracing.recording import lead_of as lead_of
from neurodeploy.graph.tracing.recording import record as record
from neurodeploy.graph.tracing.trace import trace as trace
