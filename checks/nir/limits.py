"""Whose limit each failure is, written by hand; `checks.nir_frameworks` fails where one is not explained, or does not fail."""

_SOFT = "NIR: it has no reset that subtracts (our metadata tell it)"
_LEAK = (
    "sinabs: decays by exp(-1/tau) with tau in steps, fires at v >= threshold, resets by subtraction; NIR leaves the step open"
)
_AXES = "sinabs' reader: fails on constants with several axes"

# framework → our network → why it does not compute the same there
READING_OURS: dict[str, dict[str, str]] = {
    "spikingjelly": {
        "lif-soft": _SOFT,
        "lif-ties": "SpikingJelly: its neurons fire at v >= threshold, NIR's at v > threshold",
        "li": "SpikingJelly's reader: no LI",
        "delay": "SpikingJelly's reader: no Delay",
        "max-pool": "SpikingJelly's reader: no SumPool2d, no Threshold (NIR has no max pool)",
    },
    "snntorch": {
        "lif-soft": _SOFT,
        "if": "snnTorch's reader: IF with R = 1 alone, which it then gives a leak of 0.9",
        "li": "snnTorch's reader: no LI",
        "delay": "snnTorch's reader: no Delay",
        "max-pool": "snnTorch's reader: no Threshold (NIR has no max pool)",
    },
    "norse": {
        "lif-soft": _SOFT,
        "li": "Norse's reader: passes over LI without a word",
        "delay": "Norse's reader: passes over Delay without a word",
        "conv1d": "Norse's reader: passes over Conv1d without a word",
        "avg-pool": "Norse's reader: passes over AvgPool2d without a word",
        "max-pool": "Norse's reader: passes over Threshold without a word (NIR has no max pool)",
        "residual-conv": "Norse's reader: passes over AvgPool2d without a word",
    },
    "sinabs": {
        "lif": _LEAK,
        "lif-slow": _LEAK,
        "lif-soft": _LEAK,
        "lif-ties": _LEAK,
        "if": "sinabs: fires at v >= threshold, resets by subtraction, any number of spikes per step, v at least -threshold",
        "cuba": "sinabs' reader: passes over CubaLIF without a word",
        "li": "sinabs' reader: LI with R = 1 alone",
        "delay": "sinabs' reader: passes over Delay without a word",
        "conv": _AXES,
        "conv-strided": _AXES,
        "conv-grouped": _AXES,
        "conv1d": "sinabs' reader: Conv1d of torch tensors alone, not of files",
        "deep": _AXES,
        "avg-pool": _AXES,
        "max-pool": _AXES,
        "residual": _LEAK,
        "residual-conv": _AXES,
    },
}

# framework → its network → what must be told beside the file (`read`), and why the file does not tell it
TOLD: dict[str, dict[str, tuple[dict[str, str], str]]] = {
    "snntorch": {
        "lif-subtract": ({"reset": "soft"}, "NIR has no such reset; snnTorch writes the reset to 0"),
        "lif-subtract-late": ({"reset": "soft"}, "NIR has no such reset; snnTorch writes the reset to 0"),
    },
    "sinabs": {
        "lif-zero": ({"reset": "hard"}, "sinabs does not write which reset it has"),
        "lif-normalised": ({"convention": "sinabs-normalised"}, "sinabs does not write norm_input"),
    },
}

# framework → its network → why it does not compute the same here
READING_THEIRS: dict[str, dict[str, str]] = {
    "spikingjelly": {},
    "snntorch": {
        "lif-subtract": "ours: no form for a neuron that, still above the threshold after its reset, is not reset again",
        "lif-subtract-late": "ours: no form for a reset that comes a step late and is not decayed",
        "cuba-late": "snnTorch: its late reset takes away the input of that step too, which it does not write",
        "lif-one-number": "snnTorch's writer: needs constants for each neuron",
        "recurrent": "ours: no form for a reset that comes a step late and is not decayed",
    },
    "norse": {"conv": "Norse's writer: leaves out the size of a convolution's input, without which there is no file"},
    "sinabs": {"lif-multi": "ours: at most one spike per step; sinabs does not write that it may fire more often"},
}
