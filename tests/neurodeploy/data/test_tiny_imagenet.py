import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from neurodeploy.data import TinyImagenet, tiny_imagenet
from neurodeploy.io.errors import UserError

WNIDS = [f"n{number:08d}" for number in (300, 100, 200)]


def jpeg(seed: int, *, mode: str = "RGB", side: int = 64, kind: str = "JPEG") -> bytes:
    shape = (side, side, 3) if mode == "RGB" else (side, side)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The official layout with three classes rather than 200: two training and one validation image of each."""
    monkeypatch.setattr(tiny_imagenet, "_CLASSES", 3)
    root = tmp_path / "tiny-imagenet-200"
    (root / "val" / "images").mkdir(parents=True)
    (root / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    lines = []
    for place, wnid in enumerate(WNIDS):
        (root / "train" / wnid / "images").mkdir(parents=True)
        for number in range(2):
            (root / "train" / wnid / "images" / f"{wnid}_{number}.JPEG").write_bytes(jpeg(10 * place + number))
        (root / "val" / "images" / f"val_{place}.JPEG").write_bytes(jpeg(100 + place, mode="L"))
        lines.append(f"val_{place}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    return root


def test_images_of_the_official_layout_are_numbered_by_sorted_wnid(folder):
    data = TinyImagenet(folder=folder.parent).load()
    assert data.train_samples.shape == (6, 3, 64, 64)
    assert data.train_labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.test_labels.tolist() == [2, 0, 1]  # in the order of val_annotations.txt
    decoded = np.asarray(Image.open(io.BytesIO(jpeg(11))))
    assert np.array_equal((data.train_samples[1] * 256).numpy(), decoded.transpose(2, 0, 1))
    assert torch.equal(data.test_samples[:, 0], data.test_samples[:, 2])  # grey images give equal planes
    assert TinyImagenet(folder=folder, train_limit=1).load().train_labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (jpeg(0)[:-500], "not a whole JPEG image"),
        (jpeg(0)[:30], "not a whole JPEG image"),
        (b"", "empty"),
        (jpeg(0, side=65), "65×65 pixels found, 64×64 expected"),
        (jpeg(0, kind="PNG"), "not a whole JPEG image"),
        (bytes(2_000_000), "more than 1,048,576 bytes found"),
    ],
)
def test_a_damaged_image_is_refused_by_name(folder, content, message):
    path = folder / "train" / WNIDS[0] / "images" / f"{WNIDS[0]}_1.JPEG"
    path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(f"{path}: {message}")) as caught:
        TinyImagenet(folder=folder).load()
    assert "\n" not in str(caught.value)
    assert not (folder / "prepared").exists()


@pytest.mark.parametrize("size", [(20_000, 20_000), (65_000, 65_000)])
def test_a_decompression_bomb_is_refused_by_its_header(folder, size):
    content = bytearray(jpeg(0))
    start = content.index(b"\xff\xc0") + 5  # the frame header: height and width
    content[start : start + 4] = size[1].to_bytes(2, "big") + size[0].to_bytes(2, "big")
    path = folder / "val" / "images" / "val_1.JPEG"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"val_1\.JPEG: "):
        TinyImagenet(folder=folder).load()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("val_9.JPEG\tn99999999\t0\t0\t1\t1", "line 4: .* a class of wnids.txt expected"),
        ("../../x.JPEG\tn00000100\t0\t0\t1\t1", "line 4: "),
        ("val_9.JPEG", "line 4: "),
        ("val_9.JPEG\tn00000100\t0\t0\t1\t1", "val_9.JPEG: cannot be read"),
    ],
)
def test_an_annotation_that_does_not_fit_is_refused_with_its_line(folder, line, message):
    with (folder / "val" / "val_annotations.txt").open("a") as file:
        file.write(line)
    with pytest.raises(UserError, match=message):
        TinyImagenet(folder=folder).load()


def test_missing_classes_are_named(folder, monkeypatch):
    for path in (folder / "train" / WNIDS[1] / "images").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=f"{WNIDS[1]}/images: no .JPEG images found"):
        TinyImagenet(folder=folder).load()
    monkeypatch.setattr(tiny_imagenet, "_CLASSES", 200)
    with pytest.raises(UserError, match=r"wnids\.txt: 3 classes found, 200 expected"):
        TinyImagenet(folder=folder).load()
