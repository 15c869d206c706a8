"""Kernels of the multi-step neuron update, all with one signature: `(current, v0, parameters, surrogate) → (spikes, v)`.

| kernel | where | for |
|---|---|---|
| `reference` | anywhere | the definition: a loop over `neurons.neuron_step`, differentiated by autograd |
| `handwritten` | anywhere | its own gradient, one tensor saved; the default on a CPU where there is no `native` (yet) |
| `native` | CPU, float32, with a C compiler | the default there: the same bits, built in the background at first use |
| `fused` | NVIDIA GPUs, with Triton | the default there, for float32 and float64 |
| `compiled` | CPU or GPU, with a compiler | opt-in: seconds to compile for each number of time steps |

`fixed_point` has a signature of its own: Loihi's neurons, in integers. `late_reset` is the one kernel of neurons that reset a
step late.
"""

from neurodeploy.dynamics.kernels.choice import KERNELS, multi_step, using
from neurodeploy.dynamics.kernels.handwritten import low_pass
from neurodeploy.dynamics.kernels.late_reset import late_reset

__all__ = ["KERNELS", "late_reset", "low_pass", "multi_step", "using"]
