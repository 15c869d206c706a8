import re
import shutil
import tarfile
import wave
from dataclasses import replace

import numpy as np
import pytest
import torch

from neurodeploy.data import Fsdd, speech
from neurodeploy.data.audio import Spectrum, log_mel, on_grid
from neurodeploy.io.errors import UserError


def write_wav(path, samples, *, rate=8000, channels=1, width=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, "<i2").tobytes())


def _release(recordings, archive):
    """An archive of the release, with more around the recordings, as its publisher packs it."""
    top = "free-spoken-digit-dataset-1.0.10"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(recordings, f"{top}/recordings")
        tar.add(recordings / "0_george_0.wav", f"{top}/README.md")


@pytest.fixture
def folder(tmp_path):
    """One training and one test recording of every digit."""
    random = np.random.default_rng(0)
    for digit in range(10):
        for index in (0, 5):
            write_wav(tmp_path / "recordings" / f"{digit}_ann_{index}.wav", random.integers(-9000, 9000, 3000 + digit))
    return tmp_path


def test_real_recordings_are_split_by_their_index(official):
    data = Fsdd(folder=official("fsdd"), test_limit=30, train_limit=20).load()
    assert data.train_samples.shape == (200, 1, 49, 40)
    assert data.test_samples.shape == (300, 1, 49, 40)
    assert (data.classes, data.timed) == (10, False)
    assert torch.bincount(data.test_labels).tolist() == [30] * 10
    with pytest.raises(UserError, match="class 0 has 270 samples"):
        Fsdd(folder=official("fsdd"), train_limit=271).load()


def test_features_of_a_real_recording_are_those_of_its_first_second(official):
    root = official("fsdd")
    with wave.open(str(root / "recordings" / "0_george_0.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    waveform = np.zeros(8000)
    waveform[: len(samples)] = samples[:8000] / 32768
    expected = on_grid(log_mel(torch.from_numpy(waveform)[None], Spectrum(8000)))[0]
    data = Fsdd(folder=root, train_limit=1, test_limit=1).load()
    assert torch.equal(data.test_samples[0, 0], expected)
    assert expected[:10].mean() > 0.2


def test_mfcc_settings_choose_the_shape_and_the_grid_stays(folder):
    data = Fsdd(folder=folder, features="mfcc", frames=20, bands=30, coefficients=12).load()
    assert data.train_samples.shape == (10, 1, 20, 12)
    assert torch.equal(data.train_labels, torch.arange(10))
    assert torch.equal(data.train_samples * 256, (data.train_samples * 256).round())
    assert data.train_samples.abs().max() <= 1


@pytest.mark.parametrize("settings", [{}, {"features": "mfcc", "coefficients": 12, "frames": 20}])
def test_a_sequence_has_the_features_of_the_image_as_channels_and_its_frames_as_length(folder, settings):
    image = Fsdd(folder=folder, **settings).load()
    cached = list((folder / "recordings" / "prepared").iterdir())
    sequence = Fsdd(folder=folder, layout="sequence", **settings).load()
    assert image.sample_shape == ((1, 20, 12) if settings else (1, 49, 40))
    assert sequence.sample_shape == ((12, 20) if settings else (40, 49))
    for found, expected in ((sequence.train_samples, image.train_samples), (sequence.test_samples, image.test_samples)):
        assert torch.equal(found, expected[:, 0].mT)
        assert found.is_contiguous()
    assert list((folder / "recordings" / "prepared").iterdir()) == cached  # both layouts are kept once
    assert torch.equal(Fsdd(folder=folder, **settings).load().test_samples, image.test_samples)
    assert torch.equal(sequence.test_labels, image.test_labels)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "2,950 of 3,000 samples found; it is truncated"),
        (lambda path: path.write_bytes(path.read_bytes()[:20]), "not a whole WAV file"),
        (lambda path: path.write_bytes(b"OggS" + bytes(100)), "not a whole WAV file"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: write_wav(path, []), "no samples found"),
        (lambda path: write_wav(path, [0] * 10, rate=16_000), "at 16,000 Hz found, one of 16 bits at 8,000 Hz expected"),
        (lambda path: write_wav(path, [0] * 10, channels=2), "2 channels of 16 bits"),
        (lambda path: write_wav(path, [0] * 10, width=1), "1 channels of 8 bits"),
        (lambda path: path.write_bytes(bytes(5_000_000)), "more than 4,194,304 bytes found"),
    ],
)
def test_a_damaged_recording_is_refused_by_name(folder, damage, message):
    path = folder / "recordings" / "0_ann_5.wav"
    damage(path)
    with pytest.raises(UserError, match=re.escape(str(path)) + ": .*" + re.escape(message)):
        Fsdd(folder=folder).load()
    assert not (folder / "recordings" / "prepared").exists()


@pytest.mark.parametrize("name", ["0_ann_50.wav", "zero_ann_1.wav", "0_ann.wav"])
def test_a_recording_of_another_name_is_refused(folder, name):
    shutil.copy(folder / "recordings" / "0_ann_5.wav", folder / "recordings" / name)
    with pytest.raises(UserError, match=f"{name}: digit_speaker_index.wav with an index below 50 expected"):
        Fsdd(folder=folder).load()


def test_a_split_without_recordings_is_refused(folder):
    for path in (folder / "recordings").glob("*_0.wav"):
        path.unlink()
    with pytest.raises(UserError, match="recordings: empty, at least one sample expected"):
        Fsdd(folder=folder).load()


def test_the_release_is_downloaded_and_known_by_its_recordings(official, served, tmp_path, monkeypatch):
    publisher, address = served
    _release(official("fsdd") / "recordings", publisher / "release.tar.gz")
    monkeypatch.setattr(speech, "_FSDD_ARCHIVE", replace(speech._FSDD_ARCHIVE, url=f"{address}/release.tar.gz"))
    data = Fsdd(folder=tmp_path / "new", download=True, train_limit=2, test_limit=1).load()
    assert data.train_samples.shape == (20, 1, 49, 40)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["recordings"]
    assert len(list((tmp_path / "new" / "recordings").glob("*.wav"))) == 3000


def test_a_release_with_other_recordings_is_refused_and_not_kept(folder, served, tmp_path, monkeypatch):
    publisher, address = served
    (folder / "recordings" / "0_ann_0.wav").rename(folder / "recordings" / "0_george_0.wav")
    _release(folder / "recordings", publisher / "release.tar.gz")
    monkeypatch.setattr(speech, "_FSDD_ARCHIVE", replace(speech._FSDD_ARCHIVE, url=f"{address}/release.tar.gz"))
    with pytest.raises(UserError, match=r"1.0.10.tar.gz: its files are not the official ones \(SHA-256 1801eae0"):
        Fsdd(folder=tmp_path / "new", download=True).load()
    assert list((tmp_path / "new").iterdir()) == []
