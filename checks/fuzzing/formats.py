"""The formats that are damaged, each with sound files to begin from and with what reads it."""

import gzip
import io
import shutil
import sqlite3
import tarfile
import tempfile
import warnings
import wave
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from neurodeploy.app import study
from neurodeploy.data.archive import extract
from neurodeploy.data.audio import read_wav
from neurodeploy.data.cifar10 import _samples as read_cifar
from neurodeploy.data.cifar10_dvs import read_dvs128
from neurodeploy.data.idx import read_idx
from neurodeploy.data.nmnist import read_events
from neurodeploy.io.arrays import read_array, read_arrays
from neurodeploy.recipe import load as load_recipe
from neurodeploy.recipe import text_of
from neurodeploy.recipe.sweep import load_space
from neurodeploy.training import checkpoint, results
from neurodeploy_energy import read_report
from neurodeploy_energy.price.profiles import load as load_profile
from neurodeploy_energy.price.profiles import text_of as profile_text
from neurodeploy_exporters.bundle import read_bundle

_OLD = Path(__file__).resolve().parents[2] / "tests" / "files" / "v0.1"


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes:
        name: of the format.
        file: what a damaged file is called, in a folder of its own.
        seeds: the bytes of sound files.
        read: reads one, and is to refuse it in one line.
    """

    name: str
    file: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[Path], object]


def _old(*names: str) -> Callable[[], list[bytes]]:
    """Files that version 0.1 wrote."""
    return lambda: [path.read_bytes() for name in names for path in sorted(_OLD.glob(name))]


def _numpy(save: Callable[..., None], **named: object) -> bytes:
    memory = io.BytesIO()
    save(memory, **named)
    return memory.getvalue()


@cache
def _arrays() -> list[bytes]:
    kinds = (np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.arange(5), np.zeros((2, 2), np.uint8))
    return [_numpy(np.save, arr=array) for array in kinds]


@cache
def _archives() -> list[bytes]:
    arrays = {"inputs": np.ones((2, 3), np.float32), "labels": np.arange(2)}
    return [_numpy(np.savez, **arrays), _numpy(np.savez_compressed, **arrays)]


@cache
def _packed() -> list[bytes]:
    made = []
    for mode in ("w:gz", "zip"):
        memory = io.BytesIO()
        if mode == "zip":
            with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as file:
                file.writestr("top/marker", "x" * 100)
                file.writestr("top/more/data.bin", bytes(5000))
        else:
            with tarfile.open(fileobj=memory, mode="w:gz") as tar:
                for name, content in (("top/marker", b"x" * 100), ("top/more/data.bin", bytes(5000))):
                    entry = tarfile.TarInfo(name)
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
        made.append(memory.getvalue())
    return made


@cache
def _waves() -> list[bytes]:
    memory = io.BytesIO()
    with wave.open(memory, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.arange(400, dtype="<i2").tobytes())
    return [memory.getvalue()]


@cache
def _idx() -> list[bytes]:
    plain = b"\x00\x00\x08\x03" + b"".join(size.to_bytes(4, "big") for size in (3, 4, 5)) + bytes(60)
    return [plain]


@cache
def _events() -> list[bytes]:
    return [np.random.default_rng(0).integers(0, (34, 34, 256, 256, 256), (40, 5), dtype=np.uint8).tobytes()]


@cache
def _aedat() -> list[bytes]:
    events = np.stack([np.arange(40) * 4, np.arange(40) * 100], axis=1).astype(">i4")
    return [b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n" + events.tobytes()]


@cache
def _cifar() -> list[bytes]:
    records = np.random.default_rng(0).integers(0, 10, (4, 3073), dtype=np.uint8)
    return [records.tobytes()]


def _extracted(path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as name:
        extract(path, Path(name) / "made", top="top", marker="marker", at_most=1 << 20)


def _profiles() -> list[bytes]:
    return [profile_text(name).encode() for name in ("cmos45-fp32", "loihi1", "truenorth")]


def _recipes() -> list[bytes]:
    return [text_of(name).encode() for name in ("digits", "conversion-fsdd", "hybrid-vgg16-cifar10")]


@cache
def _studies() -> list[bytes]:
    """A sweep's study with a trial of each state, the same bytes each time."""
    import optuna

    space = load_space("digits", None)
    attributes = {"worker": "host/0", "test_accuracy": 97.5, "spikes": 300.25}
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # trials that are made by hand have no heartbeat
        found = study.opened(space, Path(name), None)
        found.sampler = optuna.samplers.RandomSampler(seed=0)
        for state in (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL, None):
            trial = found.ask()
            for parameter in space.settings.parameter:
                trial.suggest_float(parameter.path, 0.5, 1.0)
            for attribute, value in {**attributes, "place": trial.number}.items():
                trial.set_user_attr(attribute, value)
            if state is not None:
                found.tell(trial, [97.0, 3.5] if state == optuna.trial.TrialState.COMPLETE else None, state=state)
        with closing(sqlite3.connect(Path(name) / study.STUDY)) as database:
            database.execute("UPDATE trials SET datetime_start = '2026-01-01 00:00:00.000000'")
            database.execute("UPDATE trials SET datetime_complete = datetime_start WHERE datetime_complete IS NOT NULL")
            database.execute("DELETE FROM trial_heartbeats")
            database.commit()
            database.execute("VACUUM")
        return [(Path(name) / study.STUDY).read_bytes()]


def _studied(path: Path) -> None:
    space = load_space("digits", None)
    with tempfile.TemporaryDirectory(dir=path.parent) as name:  # a journal of the file before would be played back
        folder = Path(name)
        shutil.copyfile(path, folder / study.STUDY)
        found = study.opened(space, folder, None)
        with study.readable(study.url_of(folder, None)):
            study.counted(found)
            study.outcome_of(found, space, 1)


FORMATS = (
    Format("recipe", "case.toml", _recipes, lambda path: load_recipe(str(path))),
    Format("profile", "case.toml", _profiles, lambda path: load_profile(str(path))),
    Format("checkpoint", "case.safetensors", _old("run/seed-0/*/checkpoint.safetensors"), checkpoint.load),
    Format("results", "results.json", _old("run/results.json"), results.read),
    Format("report", "report.json", _old("energy/report.json"), read_report),
    Format("manifest", "bundle/manifest.json", _old("more/*/manifest.json"), lambda path: read_bundle(path.parent)),
    Format("sample", "case.npz", _old("more/*/sample.npz"), read_arrays),
    Format("npy", "case.npy", _arrays, read_array),
    Format("npz", "case.npz", _archives, read_arrays),
    Format("idx", "case.idx", _idx, lambda path: read_idx(path, 3)),
    Format("packed-idx", "case.gz", lambda: [gzip.compress(one) for one in _idx()], lambda path: read_idx(path, 3)),
    Format("wav", "case.wav", _waves, lambda path: read_wav(path, 8000)),
    Format("aedat", "case.aedat", _aedat, read_dvs128),
    Format("events", "case.bin", _events, read_events),
    Format("cifar", "case.bin", _cifar, lambda path: read_cifar([path], 1, 4, 0, 10, None, "1/256")),
    Format("archive", "case.tar.gz", _packed, _extracted),
    Format("study", study.STUDY, _studies, _studied),
)
"""In the order in which they are tried; `.net`, ONNX and NIR files have checks of their own."""
