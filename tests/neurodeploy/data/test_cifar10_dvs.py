import re
import struct
import zipfile
from dataclasses import replace
from hashlib import md5

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.data import Cifar10Dvs, cifar10_dvs
from neurodeploy.data.cifar10_dvs import CLASSES, read_dvs128
from neurodeploy.data.event_frames import Events, downsampled, event_counts, in_order
from neurodeploy.io.errors import UserError
from neurodeploy.recipe import parse

HEADER = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n# Timestamps tick is 1 us\r\n"


def encoded(events, header: bytes = HEADER) -> bytes:
    """Events `(x, y, polarity, microseconds)` as a DVS128 writes them; x to the right, y downwards, polarity 1 = ON."""
    return header + b"".join(struct.pack(">ii", (127 - x) << 8 | (127 - y) << 1 | (1 - p), t) for x, y, p, t in events)


@pytest.fixture
def folder(tmp_path):
    """The official layout with recordings 0, 99, 100, 899 and 900 of every class; column and row say which one it is."""
    for label, name in enumerate(CLASSES):
        (tmp_path / name).mkdir()
        for number in (0, 99, 100, 899, 900):
            content = encoded([(label, number % 128, 1, 5_000_000), (127, 127, 0, 6_000_000)])
            (tmp_path / name / f"cifar10_{name}_{number}.aedat").write_bytes(content)
    return tmp_path


def numbers_of(samples):
    """Row of the ON event of each sample of two bins at full resolution."""
    return samples[:, 0, 1].flatten(1).argmax(1).div(128, rounding_mode="floor").tolist()


def test_every_event_comes_back_with_its_pixel_polarity_and_time(tmp_path):
    path = tmp_path / "one.aedat"
    path.write_bytes(encoded([(0, 127, 1, 1_000_000), (127, 0, 0, 1_000_007), (3, 90, 1, 1_000_007)]))
    events = read_dvs128(path)
    assert (events.x.tolist(), events.y.tolist()) == ([0, 127, 3], [127, 0, 90])
    assert (events.polarity.tolist(), events.time.tolist()) == ([1, 0, 1], [0, 7, 7])


def test_addresses_are_read_as_the_publisher_s_tool_reads_them(tmp_path):
    path = tmp_path / "one.aedat"
    path.write_bytes(HEADER + bytes.fromhex("00000305 00000009"))  # bits 8 to 14: 3, bits 1 to 7: 2, bit 0: 1 (OFF)
    events = read_dvs128(path)
    assert (events.x.item(), events.y.item(), events.polarity.item()) == (127 - 3, 127 - 2, 0)


def test_external_events_are_left_out_and_a_plain_header_is_enough(tmp_path):
    path = tmp_path / "one.aedat"
    path.write_bytes(b"#!AER-DAT2.0\n" + struct.pack(">ii", 1 << 15, 3) + encoded([(4, 5, 1, 8)], header=b""))
    events = read_dvs128(path)
    assert (events.x.tolist(), events.y.tolist(), events.time.tolist()) == ([4], [5], [0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (encoded([(1, 1, 1, 9)])[:-3], "5 bytes of events found, a multiple of 8 expected; it is truncated"),
        (HEADER[:-4], "it ends in its header; it is truncated"),
        (HEADER, "no events found"),
        (HEADER + struct.pack(">ii", 1 << 15, 3), "no events found"),
        (encoded([(1, 1, 1, 9)], header=b""), r"first line '\x00\x00~\xfc\x00\x00\x00\t' found, #!AER-DAT2.0 expected"),
        (encoded([], header=b"#!AER-DAT3.1\r\n"), "first line '#!AER-DAT3.1' found, #!AER-DAT2.0 expected"),
        (b"#!AER-DAT4.0\r\n" + bytes(99), "first line '#!AER-DAT4.0' found, #!AER-DAT2.0 expected"),
        (b"\x93NUMPY" + bytes(100), "#!AER-DAT2.0 expected; put the official file there"),
        (
            encoded([(1, 1, 1, 9)]) + struct.pack(">ii", 1 << 16, 9),
            "event 1 with address 0x00010000 found, at most 0x0000ffff expected of a DVS128; it is damaged",
        ),
        (HEADER + struct.pack(">Ii", 1 << 31, 9), "event 0 with address 0x80000000 found"),
        (HEADER + bytes(40_000_001), "more than 40,000,000 bytes found"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_damaged_recording_is_refused_by_name(folder, content, message):
    path = folder / "frog" / "cifar10_frog_0.aedat"
    path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(f"{path}: ") + ".*" + re.escape(message)):
        Cifar10Dvs(folder=folder).load()
    assert not (folder / "prepared").exists()


def test_the_last_hundred_numbers_of_every_class_are_the_test_set_or_the_first(folder):
    last = Cifar10Dvs(folder=folder, bins=2, size=128).load()
    assert (last.name, last.classes, last.timed, last.steps, last.sample_shape) == ("cifar10-dvs", 10, True, 2, (2, 128, 128))
    assert last.train_labels.tolist() == [label for label in range(10) for _ in range(4)]
    assert numbers_of(last.train_samples) == [0, 99, 100, 899 % 128] * 10
    assert numbers_of(last.test_samples) == [900 % 128] * 10
    assert last.test_labels.tolist() == list(range(10))
    first = Cifar10Dvs(folder=folder, bins=2, size=128, held_out="first").load()
    assert numbers_of(first.train_samples) == [100, 899 % 128, 900 % 128] * 10
    assert numbers_of(first.test_samples) == [0, 99] * 10
    assert "no official split, the last 100 recordings of every class are the test set" in last.note
    assert "the first 100 recordings of every class are the test set; first 1 training samples of every class" in (
        Cifar10Dvs(folder=folder, held_out="first", train_limit=1).load().note
    )


def test_numbers_are_ordered_as_numbers(folder):
    chosen = Cifar10Dvs(folder=folder, bins=2, size=128, held_out="last", train_limit=2).load()
    assert numbers_of(chosen.train_samples) == [0, 99] * 10  # 100 precedes 99 in the order of letters


def test_frames_hold_what_counting_event_by_event_gives(folder):
    random = np.random.default_rng(0)
    rows = [tuple(row) for row in random.integers(0, (128, 128, 2, 1000), (3000, 4)).tolist()]
    rows.sort(key=lambda row: row[3])
    (folder / "airplane" / "cifar10_airplane_0.aedat").write_bytes(encoded(rows))
    span = rows[-1][3] - rows[0][3] + 1
    for parts in ("events", "time"):
        for size in (32, 48):
            expected = np.zeros((4, 2, size, size))
            for place, (x, y, p, t) in enumerate(rows):
                step = place * 4 // 3000 if parts == "events" else (t - rows[0][3]) * 4 // span
                expected[step, p, y * size // 128, x * size // 128] += 1
            settings = {"folder": folder, "bins": 4, "size": size, "parts": parts}
            counts = Cifar10Dvs(values="counts", **settings).load().train_samples[0]
            assert np.array_equal((counts * 256).numpy(), expected)
            assert torch.equal(Cifar10Dvs(**settings).load().train_samples[0], (counts > 0).float())


@given(st.integers(1, 40), st.integers(1, 9))
def test_bins_of_equal_events_differ_by_one_at_most(count, bins):
    nowhere = np.zeros(count, np.int64)
    events, duration = in_order(Events(nowhere, nowhere, nowhere, nowhere))
    per_bin = event_counts(events, bins, duration, 1, 1).sum((1, 2, 3))
    assert per_bin.sum() == count
    assert per_bin.max() - per_bin.min() <= 1


@given(st.integers(1, 128))
def test_every_pixel_of_a_coarser_sensor_collects_some_of_the_finer_one(size):
    pixels = np.arange(128)
    coarse = downsampled(Events(pixels, pixels[::-1], pixels % 2, pixels), 128, size)
    assert set(coarse.x.tolist()) == set(range(size))
    assert np.array_equal(coarse.y, coarse.x[::-1])
    shares = np.bincount(coarse.x)
    assert shares.max() - shares.min() <= 1


def test_too_many_events_to_count_are_refused(folder):
    path = folder / "dog" / "cifar10_dog_99.aedat"
    path.write_bytes(encoded([(1, 1, 1, 0)] * 300))
    with pytest.raises(UserError, match=re.escape(f"{path}: 300 events of one pixel in one bin found, at most 255 expected")):
        Cifar10Dvs(folder=folder, bins=1, values="counts").load()
    assert Cifar10Dvs(folder=folder, bins=1).load().train_samples.max() == 1


@pytest.mark.parametrize("name", ["cifar10_cat_1000.aedat", "cifar10_dog_1.aedat", "cifar10_cat_07.aedat", "cat.aedat"])
def test_a_recording_of_another_name_is_refused(folder, name):
    (folder / "cat" / name).write_bytes(encoded([(1, 1, 1, 0)]))
    with pytest.raises(UserError, match=re.escape(name) + ": cifar10_cat_<number>.aedat, numbers 0 to 999, expected"):
        Cifar10Dvs(folder=folder).load()


def test_a_class_without_recordings_and_converted_copies_are_refused(folder):
    (folder / "ship" / "cifar10_ship_900.aedat").unlink()
    with pytest.raises(UserError, match=r"ship: 4 recordings .* found, none of them for the test set; all 1,000 expected"):
        Cifar10Dvs(folder=folder).load()
    for path in (folder / "ship").iterdir():
        path.rename(path.with_suffix(".aedat4"))
    with pytest.raises(UserError, match=r"ship: 0 recordings .* unpack the official archive again \(AEDAT 2.0, https"):
        Cifar10Dvs(folder=folder).load()
    (folder / "ship").rename(folder / "boat")
    with pytest.raises(UserError, match=r"no cifar10-dvs data found \(airplane, .*truck expected in"):
        Cifar10Dvs(folder=folder).load()


def test_each_setting_of_the_frames_has_a_cache_of_its_own(folder):
    for settings in ({}, {"bins": 3}, {"size": 32}, {"parts": "time"}, {"values": "counts"}, {"held_out": "first"}):
        Cifar10Dvs(folder=folder, **settings).load()
    assert len(list((folder / "prepared").iterdir())) == 6
    assert torch.equal(Cifar10Dvs(folder=folder).load().test_samples, Cifar10Dvs(folder=folder).load().test_samples)
    assert len(list((folder / "prepared").iterdir())) == 6


def test_a_download_unpacks_an_archive_for_every_class_that_is_missing(folder, tmp_path, served, monkeypatch):
    publisher, address = served
    sources = []
    for source in cifar10_dvs._SOURCES:
        with zipfile.ZipFile(publisher / source.name, "w") as archive:
            for path in (folder / source.folder).iterdir():
                archive.write(path, f"{source.folder}/{path.name}")
        checksum = f"md5:{md5((publisher / source.name).read_bytes(), usedforsecurity=False).hexdigest()}"
        sources.append(replace(source, url=f"{address}/{source.name}", checksum=checksum))
    monkeypatch.setattr(cifar10_dvs, "_SOURCES", tuple(sources))
    data = Cifar10Dvs(folder=tmp_path / "new", download=True).load()
    assert torch.equal(data.train_samples, Cifar10Dvs(folder=folder).load().train_samples)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted([*CLASSES, "prepared"])


RECIPE = """
name = "vgg-dvs"
steps = 10
baseline = "student"
deployed = "student"
data = { kind = "cifar10-dvs", bins = 10, size = 48 }
augmentation = [{ kind = "event-flip" }, { kind = "event-shift" }]
teacher = { epochs = 1 }
student = [{ name = "student", training = { epochs = 1 } }]

[network]
kind = "vgg"
layers = [64, 128, "A", 256, 256, "A", 512, 512, "A", 512, 512, "A"]
hidden = []
form = "batch-norm"
size = 48
"""


def test_the_usual_vgg_for_events_suits_its_frames():
    recipe = parse(RECIPE, origin="vgg-dvs")
    for role in recipe.roles:
        with torch.device("meta"):
            network = recipe.network_of(role).build(2, 10, recipe.activations(role))
            assert network(torch.zeros(3, 10, 2, 48, 48)).logits.shape == (3, 10)
    with pytest.raises(UserError, match="steps: 10 found, the 4 event frames of the data expected"):
        parse(RECIPE.replace("bins = 10", "bins = 4"), origin="vgg-dvs")
