"""One thread per test process: two processes share two cores."""

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("neurodeploy", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("neurodeploy")
