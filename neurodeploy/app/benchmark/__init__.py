"""One network in every format and every program that runs it: what each answers, how long it takes, and what it costs."""

from neurodeploy.app.benchmark.compared import Compared, compared
from neurodeploy.app.benchmark.contestants import Settings
from neurodeploy.app.benchmark.outcome import Benchmark, benchmark
from neurodeploy.app.benchmark.rows import BenchmarkRow, DeployedEnergy, Duration, SpikeDifference, Unknown

__all__ = [
    "Benchmark",
    "BenchmarkRow",
    "Compared",
    "DeployedEnergy",
    "Duration",
    "Settings",
    "SpikeDifference",
    "Unknown",
    "benchmark",
    "compared",
]
