"""What a failure is explained by beside the rules of `neurodeploy_exporters.nir.readers`, written by hand.

`checks.nir_frameworks` fails where a failure is not explained by a rule or here, and where a rule or an explanation says of a
network that it fails and it is equal.
"""

# our network → why no reader computes the same
NO_FORM: dict[str, str] = {"lif-soft": "NIR: it has no reset that subtracts (our metadata say so)"}

# reader → our network → why it does not compute the same there, where no rule says so
READING_OURS: dict[str, dict[str, str]] = {
    "norse": {"delay": "passes over Delay without a word"},
    "sinabs": {"conv1d": "Conv1d of torch tensors alone, not of files"},
}

# framework → its network → what must be said beside the file, and why the file does not say it
_RESET = "snnTorch writes neither its reset nor when it comes"
_SINGLE = "sinabs does not write how often a neuron fires in a step"
_SCALED = "sinabs does not write norm_input"
TOLD: dict[str, dict[str, tuple[str, str]]] = {
    "snntorch": {
        "lif": ("snntorch:reset_mechanism=zero", _RESET),
        "conv": ("snntorch:reset_mechanism=zero", _RESET),
        "cuba": ("snntorch:reset_mechanism=zero,reset_delay=false", _RESET),
        "cuba-late": ("snntorch:reset_mechanism=zero", _RESET),
        "lif-subtract": ("snntorch:reset_delay=false", _RESET),
        "recurrent-zero": ("snntorch:reset_mechanism=zero,reset_delay=false", _RESET),
        "recurrent": ("snntorch", _RESET),
        "recurrent-cuba": ("snntorch", "its numbers are those of SpikingJelly too"),
    },
    "spyx": {"if": ("spyx", "its numbers are those of sinabs too")},
    "sinabs": {
        "lif": ("sinabs:norm_input=false,spike_fn=SingleSpike", _SCALED),
        "lif-zero": ("sinabs:norm_input=false,spike_fn=SingleSpike,reset_fn=MembraneReset", _SCALED),
        "lif-multi": ("sinabs:norm_input=false", _SCALED),
        "lif-normalised": ("sinabs:spike_fn=SingleSpike", _SINGLE),
        "if": ("sinabs:spike_fn=SingleSpike", _SINGLE),
        "conv-floor": ("sinabs:min_v_mem=-1", "sinabs does not write the floor of the potential"),
        "conv": ("sinabs:norm_input=false,spike_fn=SingleSpike", _SCALED),
    },
}

# framework → its network → why it does not compute the same here
READING_THEIRS: dict[str, dict[str, str]] = {
    "spikingjelly": {},
    "snntorch": {
        "lif-one-number": "snnTorch's writer: needs constants for each neuron",
    },
    "norse": {"conv": "Norse's writer: leaves out the size of a convolution's input, without which there is no file"},
    "sinabs": {},
    "spyx": {},
}
