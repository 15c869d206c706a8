"""The three papers: what they print, which networks of our recipes stand beside it, and what differs."""

from benchmarks.papers.paper import Ours, Paper, Printed
from benchmarks.papers.picture import FRONT, LOGITS

_ENOF = Paper(
    "EnOF-SNN (Guo et al., NeurIPS 2024): LAF loss and RepAct",
    printed=(
        Printed("CIFAR-10, wide ResNet-20", "LAF + RepAct", 4, "94.74"),
        Printed("CIFAR-10, ResNet-19", "LAF + RepAct", 1, "95.37"),
        Printed("CIFAR-10, ResNet-19", "LAF + RepAct", 2, "96.19"),
    ),
    ours=tuple(
        Ours(recipe, f"{role}-t{t}", f"baseline-t{t}")
        for recipe in ("enof-cifar10-small", "enof-fsdd")
        for t in (1, 2, 4)
        for role in ("baseline", "laf-repact")
    ),
    recipes=("enof-cifar10-small", "enof-fsdd"),
    differs=(
        "The paper trains a wide ResNet-20 or ResNet-19 for 400 epochs on all of CIFAR-10, with AutoAugment and Cutout; "
        "here it is a network of three stages, a few epochs and a part of the images. The order of the networks can be "
        "compared, the accuracies cannot. RepAct's last activation is a ReLU, which fires no spikes: it is not among the "
        "spikes here."
    ),
)
_LOUIS = Paper(
    "Louis et al. (ICANN 2024): distillation with activity and logits regularisation",
    printed=(
        Printed("CIFAR-10, SVGG-11", "baseline", 4, "86.6"),
        Printed("CIFAR-10, SVGG-11", "distillation + logits", 4, "86.5", "-14.3 %"),
        Printed("Speech Commands, ResNet-8", "distillation + logits", 4, "as the baseline", "-26.7 %"),
    ),
    ours=tuple(
        Ours(recipe, role, "baseline")
        for recipe, roles in (
            ("louis-cifar10-logits", ("baseline", "distilled", "logits-1e0", "logits-2e0", "logits-4e0")),
            ("louis-fsdd-logits", ("baseline", "logits-1e-1", "logits-2e-1", "logits-3e-1")),
            ("louis-svgg11-cifar10-short", ("baseline", "distilled")),
            ("louis-cifar10-front", ("baseline", "distilled", "logits", "logits-activity-1e0")),
            ("louis-fsdd-front", ("baseline", "distilled", "logits", "logits-activity-1e0", "logits-activity-weak-kd")),
            ("louis-fsdd-seeds", ("baseline", "logits-activity-1e-1", "logits-activity-5e-1")),
        )
        for role in roles
    ),
    recipes=(
        "louis-cifar10-logits",
        "louis-fsdd-logits",
        "louis-svgg11-cifar10-short",
        "louis-cifar10-front",
        "louis-cifar10-small",
        "louis-fsdd-front",
        "louis-fsdd-seeds",
        "louis-fsdd",
    ),
    differs=(
        "The authors' neuron is SpikingJelly's LIFNode, which charges with half of its input current. With it "
        "(`louis-*-logits`), distillation and logits regularisation pass the paper's cut on their own, and go on as the "
        "term's weight grows. On CIFAR-10 distillation alone adds some spikes; the logits term takes them, and many more,"
        " from the convolution that the classifier reads, and hardly from those before it; what accuracy distillation has"
        " gained, it gives back as its weight grows. There the teacher pools, and is ten points better than the students."
        " Estimated energy falls less than spikes, by 1 to 5 % in the profile of the table: the dense first layer stays, "
        "and on CIFAR-10 the spikes that are saved reach ten classes, not a convolution. Nor is the cut to be had "
        "everywhere. Tried on one seed or two, and not kept here: with two hidden layers before the classifier, the term "
        "silences those and no convolution (CIFAR-10, +5 % spikes); where the teacher is worse than the baseline (three "
        "of the six speakers train), -30 % spikes cost 2 to 6 points. The other recipes have neurons that charge with the"
        " whole current and fire more from the start: there distillation alone cuts as much as both, with weights of the "
        "term from 0.01 to 0.3 (spoken digits) and to 1 (CIFAR-10), and activity regularisation beside them goes beyond "
        "the paper's figures before the accuracy falls below the baseline's. The paper trains for 100 epochs with "
        "AutoAugment and Mixup, with weights of the term of 0.001 to 0.01; its form of the loss is our reading of it. "
        "Speech Commands was not at hand: spoken digits stand for it."
    ),
    pictures=(
        (f"images/{LOGITS}", "Accuracy against spikes per sample, with logits regularisation of growing weight"),
        (f"images/{FRONT}", "Accuracy against spikes per sample, with activity regularisation of growing weight"),
    ),
)
_LASNN = Paper(
    "LaSNN (Hong et al.): layer-wise attention distillation",
    printed=(
        Printed("CIFAR-10, VGG16", "conversion (Sengupta et al.)", 2500, "91.55"),
        Printed("CIFAR-10, VGG16", "hybrid training", 100, "90.53"),
        Printed("CIFAR-10, VGG16", "label distillation", 100, "90.60"),
        Printed("CIFAR-10, VGG16", "LaSNN", 100, "91.22"),
        Printed("CIFAR-10, VGG5", "LaSNN", 100, "86.68"),
    ),
    ours=tuple(
        Ours(recipe, role, "converted")
        for recipe, roles in (
            ("lasnn-vgg7-cifar10-small", ("converted", "label", "lasnn")),
            ("lasnn-cifar10-small", ("converted", "hybrid", "lasnn")),
            ("lasnn-fsdd", ("converted", "hybrid", "lasnn")),
        )
        for role in roles
    ),
    recipes=("lasnn-vgg7-cifar10-small", "lasnn-cifar10-small", "lasnn-fsdd"),
    differs=(
        "The paper's students run for 100 steps of Poisson input and train for 100 epochs; here T is 4 or 16, mostly with "
        "direct code, and one to four epochs have to do. That distilled students need fewer steps and spikes than a "
        "conversion of their accuracy is seen; a lead of attention over other training is not, nor that LaSNN fires less "
        "in most layers than a conversion at the same T: see below."
    ),
)

PAPERS = (
    _ENOF,
    _LOUIS,
    _LASNN,
    Paper("Conversion for growing T", recipes=("conversion-cifar10-small", "conversion-fsdd")),
    Paper("Every distillation term alone", recipes=("terms-cifar10-small", "terms-fsdd")),
)
