"""Images by class in folders, of sizes, formats and faults as users have them."""

import numpy as np
import pytest
import torch
from PIL import Image

from neurodeploy.data import ImageFolder
from neurodeploy.io.errors import UserError
from neurodeploy.recipe import parse

CLASSES = ("ant", "bee", "wasp")


def draw(path, seed=0, size=(6, 5), mode="RGB"):
    """A random image of height and width."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size if mode == "L" else (*size, len(mode))
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def folder(tmp_path):
    """Six images for training and two for the test, of each of three classes."""
    for part, count in (("train", 6), ("test", 2)):
        for label, name in enumerate(CLASSES):
            for i in range(count):
                draw(tmp_path / part / name / f"{i}.png", seed=100 * label + 10 * i + count)
    return tmp_path


def test_two_parts_are_training_and_test_set(folder):
    data = ImageFolder(folder=folder).load()
    assert data.class_names == CLASSES
    assert data.train_samples.shape == (18, 3, 6, 5)
    assert data.test_samples.shape == (6, 3, 6, 5)
    assert data.train_labels.tolist() == [0, 1, 2] * 6  # the classes take turns
    expected = np.asarray(Image.open(folder / "train" / "bee" / "3.png"))
    assert np.array_equal((data.train_samples[torch.tensor([3 * 3 + 1])] * 256).numpy()[0], expected.transpose(2, 0, 1))


def test_one_part_is_split_by_class_and_seed(folder):
    whole = ImageFolder(folder=folder / "train", test_share=0.3).load()
    assert torch.bincount(whole.test_labels).tolist() == [2, 2, 2]
    assert torch.bincount(whole.train_labels).tolist() == [4, 4, 4]
    both = torch.cat([whole.train_samples[:], whole.test_samples[:]])
    assert len(torch.unique(both.flatten(1), dim=0)) == 18
    again, other = (ImageFolder(folder=folder / "train", test_share=0.3, split_seed=seed).load() for seed in (0, 1))
    assert torch.equal(again.test_samples[:], whole.test_samples[:])
    assert not torch.equal(other.test_samples[:], whole.test_samples[:])


@pytest.mark.parametrize(("scale", "factor"), [("1/256", 1 / 256), ("1/255", 1 / 255), ("1", 1.0)])
def test_a_byte_is_worth_what_the_scale_says(folder, scale, factor):
    pixels = np.asarray(Image.open(folder / "train" / "ant" / "0.png")).transpose(2, 0, 1).astype(np.float32)
    assert np.allclose(ImageFolder(folder=folder, scale=scale).load().train_samples[:1].numpy()[0], pixels * factor, rtol=1e-7)


def test_normalised_values_are_those_of_torchvision(folder):
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    data = ImageFolder(folder=folder, scale="1/255", normalize={"mean": mean, "std": std}).load()
    pixels = torch.from_numpy(np.asarray(Image.open(folder / "train" / "ant" / "0.png")).transpose(2, 0, 1).copy())
    plain = pixels.to(torch.float32).div(255)  # ToTensor, then Normalize
    expected = (plain - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    assert torch.equal(data.train_samples[:1][0], expected)
    assert data.normalization.mean == mean


def test_images_in_other_formats_folders_and_colours_are_read(folder):
    draw(folder / "train" / "ant" / "deep" / "er" / "grey.JPG", mode="L")
    draw(folder / "train" / "ant" / "see-through.png", mode="RGBA")
    (folder / "train" / "ant" / ".hidden.txt").write_text("no image")
    (folder / "train" / ".cache").mkdir()
    (folder / "train" / "bee" / "Thumbs.db").write_bytes(b"no image")
    (folder / "README.md").write_text("beside the classes")
    data = ImageFolder(folder=folder).load()
    assert torch.bincount(data.train_labels).tolist() == [8, 6, 6]
    assert data.train_samples[:].shape == (20, 3, 6, 5)
    grey = ImageFolder(folder=folder, channels=1).load().train_samples[:1]
    assert grey.shape == (1, 1, 6, 5)
    expected = np.asarray(Image.open(folder / "train" / "ant" / "0.png").convert("L"))
    assert np.array_equal((grey * 256).numpy()[0, 0], expected)


def test_images_of_any_size_are_cropped_in_the_centre_or_stretched(folder):
    wide = draw(folder / "train" / "ant" / "0.png", size=(6, 12))
    with pytest.raises(UserError, match=r"pixels found, .* expected as in .*; set data\.size to bring all to one size"):
        ImageFolder(folder=folder).load()
    cropped = ImageFolder(folder=folder, size=6).load().train_samples[:1]
    assert np.array_equal((cropped * 256).numpy()[0].transpose(1, 2, 0), wide[:, 3:9])
    stretched = ImageFolder(folder=folder, size=(3, 6), fit="stretch").load().train_samples[:1]
    reference = np.asarray(Image.fromarray(wide).resize((6, 3), Image.Resampling.BILINEAR))
    assert np.array_equal((stretched * 256).numpy()[0].transpose(1, 2, 0), reference)


def damage(folder, fault):
    ant = folder / "train" / "ant"
    if fault == "no folder":
        return folder / "absent"
    if fault == "empty folder":
        (folder / "nothing").mkdir()
        return folder / "nothing"
    if fault == "empty class":
        (folder / "train" / "cicada").mkdir()
    if fault == "one class":
        draw(folder / "lonely" / "ant" / "0.png")
        return folder / "lonely"
    if fault == "no test":
        (folder / "test").rename(folder / "val")
    if fault == "other classes":
        (folder / "test" / "bee").rename(folder / "test" / "hornet")
    if fault == "no image":
        (ant / "4.png").write_bytes(b"not a picture at all")
    if fault == "empty file":
        (ant / "4.png").write_bytes(b"")
    if fault == "a text":
        (ant / "notes.txt").write_text("seen in June")
    if fault == "animation":
        frames = [Image.new("RGB", (5, 6), colour) for colour in ("red", "blue")]
        frames[0].save(ant / "x.gif", save_all=True, append_images=frames[1:])
    if fault == "bomb":
        header = bytearray((ant / "0.png").read_bytes())
        header[16:24] = (60_000).to_bytes(4, "big") * 2
        (ant / "4.png").write_bytes(reckoned(header))
    if fault == "16 bits":
        Image.fromarray(np.full((6, 5), 40_000, np.uint16)).save(ant / "4.png")
    return folder


def reckoned(png):
    """With a header whose checksum is right."""
    import zlib

    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    return bytes(png)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no folder", r"absent: no such folder; data\.folder is that of the images"),
        ("empty folder", r"nothing: at least two folders expected, one for each class; none found"),
        ("empty class", r"cicada: no images found, at least one of the class cicada expected"),
        ("one class", r"lonely: at least two folders expected, one for each class; ant found"),
        ("no test", r"test: no such folder beside train; name the one with the test images in data\.test"),
        ("other classes", r"classes of training and test set differ: bee only in training; hornet only in test"),
        ("no image", r"ant/4\.png: not a whole image of the formats PNG"),
        ("empty file", r"ant/4\.png: not a whole image of the formats PNG"),
        ("a text", r"ant/notes\.txt: ends in \.txt, an image \("),
        ("animation", r"ant/x\.gif: an animation or several pages found, one image expected"),
        ("bomb", r"ant/4\.png: (60000×60000 pixels found|not a whole image \(Image size)"),
        ("16 bits", r"ant/4\.png: pixels of mode I;16 found, 8 bits a channel expected"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_before(folder, fault, message):
    with pytest.raises(UserError, match=message) as error:
        ImageFolder(folder=damage(folder, fault)).load()
    assert len(str(error.value).splitlines()) == 1


def test_damaged_pixels_are_named_when_they_are_read(folder):
    path = folder / "train" / "bee" / "2.png"
    draw(path, size=(60, 50))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    data = ImageFolder(folder=folder, size=6).load()
    with pytest.raises(UserError, match=r"bee/2\.png: not a whole image \(.*truncated.*\); remove or repair it"):
        data.train_samples[:]


def test_a_recipe_names_the_settings_at_fault():
    with pytest.raises(UserError, match=r"normalize\.std\.0: 0 found, input should be greater than 0; .*size\.0: 0 found"):
        parse(
            'data = { kind = "folder", folder = "x", size = 0, normalize = { mean = [0], std = [0] } }',
            origin="mine.toml",
        )


def test_means_that_fit_no_channel_are_refused(folder):
    with pytest.raises(UserError, match=r"data\.normalize: mean and std of 2 channels found, 1 or 3 of each expected"):
        ImageFolder(folder=folder, normalize={"mean": (0, 0), "std": (1, 1)}).load()


def test_a_class_may_be_called_train(tmp_path):
    for name in ("bus", "train"):
        for i in range(4):
            draw(tmp_path / name / f"{i}.png", seed=i)
    assert ImageFolder(folder=tmp_path).load().class_names == ("bus", "train")


def test_few_images_need_no_workers_unless_they_are_asked_for(folder):
    assert ImageFolder(folder=folder).load().workers == 0
    assert ImageFolder(folder=folder, workers=3).load().workers == 3
