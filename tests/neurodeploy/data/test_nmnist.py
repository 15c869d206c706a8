import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.data import Nmnist
from neurodeploy.data.event_frames import Events, event_counts
from neurodeploy.data.nmnist import read_events
from neurodeploy.io.errors import UserError


def encoded(events) -> bytes:
    """Events `(x, y, polarity, microseconds)` as the sensor's 40 bits each."""
    return b"".join((x << 32 | y << 24 | p << 23 | t).to_bytes(5, "big") for x, y, p, t in events)


@pytest.fixture
def folder(tmp_path):
    """One recording of every digit in each split; the event's column is the digit."""
    for split in ("Train", "Test"):
        for digit in range(10):
            (tmp_path / split / str(digit)).mkdir(parents=True)
            (tmp_path / split / str(digit) / "00001.bin").write_bytes(encoded([(digit, 2, 1, 0), (33, 33, 0, 299_999)]))
    return tmp_path


def test_real_recordings_become_the_frames_that_counting_event_by_event_gives(official):
    root = official("nmnist")
    data = Nmnist(folder=root, bins=3, values="counts").load()
    assert data.train_samples.shape == (1000, 3, 2, 34, 34)
    assert (data.timed, data.steps, data.sample_shape, data.classes) == (True, 3, (2, 34, 34), 10)
    files = [path for digit in range(10) for path in sorted((root / "Train" / str(digit)).glob("*.bin"))]
    for place in (0, 500, 999):
        expected = np.zeros((3, 2, 34, 34))
        content = files[place].read_bytes()
        for start in range(0, len(content), 5):
            x, y, rest = content[start], content[start + 1], int.from_bytes(content[start + 2 : start + 5], "big")
            if rest % (1 << 23) < 300_000:
                expected[rest % (1 << 23) // 100_000, rest >> 23, y, x] += 1
        assert expected.sum() > 1000
        assert np.array_equal((data.train_samples[place] * 256).numpy(), expected)
        assert data.train_labels[place] == int(files[place].parent.name)


def test_spikes_are_one_wherever_something_was_counted(official):
    root = official("nmnist")
    spikes = Nmnist(folder=root, train_limit=5).load()
    counts = Nmnist(folder=root, train_limit=5, values="counts").load()
    assert torch.equal(spikes.train_samples, (counts.train_samples > 0).float())
    assert spikes.train_samples.shape == (50, 10, 2, 34, 34)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 1), st.integers(0, 130)), max_size=30),
    st.integers(1, 7),
)
def test_every_event_before_the_end_falls_into_the_bin_of_its_time(events, bins):
    columns = np.array(events, np.int64).reshape(-1, 4).T
    expected = np.zeros((bins, 2, 3, 4), np.int64)
    for x, y, polarity, time in events:
        if time < 100:
            expected[int(time * bins / 100), polarity, y, x] += 1
    assert np.array_equal(event_counts(Events(*columns), bins, 100, 3, 4), expected)


def test_channel_1_holds_the_on_events_and_late_ones_are_left_out(folder):
    data = Nmnist(folder=folder, bins=2).load()
    for digit in range(10):
        assert data.train_samples[digit, 0, 1, 2, digit] == 1
        assert data.train_samples[digit, 1, 0, 33, 33] == 1
        assert data.train_samples[digit].sum() == 2
    assert Nmnist(folder=folder, bins=2, duration_ms=100).load().test_samples[3].sum() == 1


def test_a_clock_mark_is_no_event_and_moves_those_after_it(tmp_path):
    path = tmp_path / "1.bin"
    path.write_bytes(encoded([(1, 1, 0, 5), (0, 240, 0, 0), (2, 2, 1, 7), (0, 240, 1, 0), (3, 3, 1, 1)]))
    events = read_events(path)
    assert events.time.tolist() == [5, 7 + 8192, 1 + 2 * 8192]
    assert (events.x.tolist(), events.y.tolist(), events.polarity.tolist()) == ([1, 2, 3], [1, 2, 3], [0, 1, 1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (encoded([(1, 1, 1, 9)])[:-2], "3 bytes found, a multiple of 5 expected; it is truncated"),
        (b"", "empty"),
        (encoded([(1, 1, 1, 0), (34, 0, 1, 9)]), "event 1 at x = 34, y = 0 found, 0 to 33 expected"),
        (encoded([(1, 1, 1, 0)] * 300), "300 events of one pixel in one bin found, at most 255 expected; use more bins"),
    ],
)
def test_a_damaged_recording_is_refused_by_name(folder, content, message):
    path = folder / "Train" / "7" / "00001.bin"
    path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(f"{path}: {message}")):
        Nmnist(folder=folder, values="counts").load()


def test_a_missing_split_is_named(folder):
    for path in (folder / "Test").glob("*/*.bin"):
        path.unlink()
    with pytest.raises(UserError, match="Test: empty, at least one sample expected"):
        Nmnist(folder=folder).load()
    with pytest.raises(UserError, match=r"no nmnist data found \(Train, Test expected"):
        Nmnist(folder=folder / "Train").load()
