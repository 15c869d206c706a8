import io
import re
import tarfile
import wave
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
import torch

from neurodeploy.data import SpeechCommands, speech
from neurodeploy.data.audio import Spectrum, mfcc, on_grid
from neurodeploy.data.speech import WORDS
from neurodeploy.io.errors import UserError


def recording(seed: int, length: int = 16_000) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.random.default_rng(seed).integers(-5000, 5000, length).astype("<i2").tobytes())
    return content.getvalue()


@pytest.fixture
def folder(tmp_path):
    """The official layout with three recordings of every word: one for training, one for validation, one for the test."""
    for label, word in enumerate(WORDS):
        (tmp_path / word).mkdir()
        for number in range(3):
            (tmp_path / word / f"0a_nohash_{number}.wav").write_bytes(recording(3 * label + number, 12_000))
    (tmp_path / "_background_noise_").mkdir()
    (tmp_path / "_background_noise_" / "tap.wav").write_bytes(recording(0, 60_000))
    (tmp_path / "validation_list.txt").write_text("".join(f"{word}/0a_nohash_1.wav\n" for word in WORDS))
    (tmp_path / "testing_list.txt").write_text("".join(f"{word}/0a_nohash_2.wav\n" for word in WORDS))
    return tmp_path


def test_the_official_lists_split_the_35_words(folder):
    data = SpeechCommands(folder=folder).load()
    assert data.train_samples.shape == data.test_samples.shape == (35, 1, 49, 10)
    assert torch.equal(data.train_labels, torch.arange(35))
    assert (data.classes, len(set(WORDS)), sorted(WORDS)) == (35, 35, list(WORDS))
    for number, samples in ((0, data.train_samples), (2, data.test_samples)):
        waveform = torch.zeros(1, 16_000, dtype=torch.float64)
        with wave.open(io.BytesIO(recording(3 * 4 + number, 12_000))) as file:
            waveform[0, :12_000] = torch.from_numpy(np.frombuffer(file.readframes(12_000), "<i2") / 32768)
        assert torch.equal(samples[4, 0], on_grid(mfcc(waveform, Spectrum(16_000), 10))[0])


def test_a_sequence_has_the_coefficients_as_channels_and_the_frames_as_length(folder):
    sequence = SpeechCommands(folder=folder, layout="sequence").load()
    cached = list((folder / "prepared").iterdir())
    image = SpeechCommands(folder=folder).load()
    assert (sequence.sample_shape, image.sample_shape) == ((10, 49), (1, 49, 10))
    assert torch.equal(sequence.train_samples, image.train_samples[:, 0].mT)
    assert torch.equal(sequence.test_samples, image.test_samples[:, 0].mT)
    assert list((folder / "prepared").iterdir()) == cached
    assert torch.equal(SpeechCommands(folder=folder, layout="sequence").load().train_samples, sequence.train_samples)


def test_limits_count_per_word(folder):
    (folder / "bed" / "0b_nohash_0.wav").write_bytes(recording(1))
    assert len(SpeechCommands(folder=folder).load().train_labels) == 36
    assert torch.equal(SpeechCommands(folder=folder, train_limit=1).load().train_labels, torch.arange(35))
    with pytest.raises(UserError, match="class 0 has 1 samples, fewer than the limit 2"):
        SpeechCommands(folder=folder, train_limit=2).load()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bed/lost.wav", "bed/lost.wav: no such file, but testing_list.txt lists it"),
        ("bed/0a_nohash_1.wav", r"bed/0a_nohash_1.wav is listed in validation_list.txt too"),
        (
            "../bed/0a_nohash_1.wav",
            r"testing_list.txt: '../bed/0a_nohash_1.wav' found, word/file.wav with one of",
        ),
        ("bed/../../x.wav", "found, word/file.wav with one of the 35 words expected"),
        ("_background_noise_/tap.wav", "found, word/file.wav with one of the 35 words expected"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(folder, line, message):
    with (folder / "testing_list.txt").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(UserError, match=message):
        SpeechCommands(folder=folder).load()


def test_a_missing_word_and_an_unreadable_list_are_named(folder):
    (folder / "testing_list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"testing_list.txt: no UTF-8 text found"):
        SpeechCommands(folder=folder).load()
    (folder / "testing_list.txt").write_text("bed/0a_nohash_2.wav\n")
    (folder / "validation_list.txt").write_text("bed/0a_nohash_1.wav\n")
    (folder / "zero").rename(folder / "nought")
    with pytest.raises(UserError, match="zero: no such folder, one for each of the 35 words expected"):
        SpeechCommands(folder=folder).load()


def test_a_damaged_recording_is_refused_by_name(folder):
    path = folder / "tree" / "0a_nohash_0.wav"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=re.escape(str(path)) + ": 11,999 of 12,000 samples found"):
        SpeechCommands(folder=folder).load()


def test_a_download_unpacks_an_archive_whose_members_lie_at_the_top(folder, tmp_path, served, monkeypatch):
    publisher, address = served
    with tarfile.open(publisher / "commands.tar.gz", "w:gz") as tar:
        for name in (*WORDS, "_background_noise_", "testing_list.txt", "validation_list.txt"):
            tar.add(folder / name, f"./{name}")
    checksum = f"sha256:{sha256((publisher / 'commands.tar.gz').read_bytes()).hexdigest()}"
    source = replace(speech._COMMANDS_ARCHIVE, url=f"{address}/commands.tar.gz", checksum=checksum)
    monkeypatch.setattr(speech, "_COMMANDS_ARCHIVE", source)
    data = SpeechCommands(folder=tmp_path / "new", download=True).load()
    assert torch.equal(data.train_samples, SpeechCommands(folder=folder).load().train_samples)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["speech_commands_v0.02"]
