"""All subjects by the key that the command line takes; a framework is imported only when its network is built."""

from importlib.metadata import PackageNotFoundError, version

from benchmarks.ours import Ours
from benchmarks.peers.norse import Norse
from benchmarks.peers.sinabs import Sinabs
from benchmarks.peers.snntorch import SnnTorch
from benchmarks.peers.spikingjelly import SpikingJelly
from benchmarks.subject import Subject

OURS: dict[str, Subject] = {"neurodeploy": Ours(), "neurodeploy-compiled": Ours("compiled")}
PEERS: dict[str, Subject] = {"spikingjelly": SpikingJelly(), "snntorch": SnnTorch(), "norse": Norse(), "sinabs": Sinabs()}
SUBJECTS = OURS | PEERS


def installed_version(subject: Subject) -> str | None:
    """The version of its distribution, or None where it is not installed."""
    try:
        return version(subject.distribution)
    except PackageNotFoundError:
        return None
