import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from neurodeploy.io.errors import UserError
from neurodeploy.io.weights import read_weights


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@pytest.fixture
def module() -> nn.Module:
    return small()


def put(path, module: nn.Module) -> nn.Module:
    other = small()
    read_weights(path).put_into(other, name="Net")
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in other.state_dict().items())
    return other


def test_safetensors_and_state_dicts_are_read_and_what_was_done_to_names_is_said(tmp_path, module):
    state = module.state_dict()
    save_file(state, tmp_path / "w.safetensors")
    put(tmp_path / "w.safetensors", module)
    assert read_weights(tmp_path / "w.safetensors").statements == ()
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "w.pt")
    put(tmp_path / "w.pt", module)
    assert read_weights(tmp_path / "w.pt").statements == (
        "the state dict under 'state_dict' was taken",
        "the prefix 'module.' of all names was removed",
    )
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    put(tmp_path / "old.pth", module)


def test_a_file_without_counters_of_batches_is_taken(tmp_path, module):
    torch.save({k: v for k, v in module.state_dict().items() if "num_batches" not in k}, tmp_path / "w.pt")
    read_weights(tmp_path / "w.pt").put_into(small(), name="Net")


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: without(state, "0.weight"),
            r"tensor 0\.weight is missing \(1 of the 9 of Net are\); weights of the same",
        ),
        (lambda state: state | {"head.bias": torch.zeros(2)}, r"tensor head\.bias is none of Net's \(1 such\)"),
        (
            lambda state: without(state, "2.bias") | {"fc.bias": torch.zeros(2)},
            r"tensor 2\.bias is missing .*; tensor fc\.bias is none of Net's",
        ),
        (lambda state: state | {"2.bias": torch.zeros(3)}, r"tensor 2\.bias: shape \[3\] found, \[2\] expected by Net"),
        (
            lambda state: state | {"2.bias": torch.tensor([0.0, float("nan")])},
            r"tensor 2\.bias holds values that are not finite",
        ),
        (
            lambda state: state | {"2.bias": torch.zeros(2, dtype=torch.int8)},
            r"tensor 2\.bias: torch.int8 found, torch.float32",
        ),
        (lambda _: {}, "holds no tensor"),
        (lambda state: state | {"name": "x"}, "a str under 'name' found, a state dict"),
        (lambda state: [state], "a list found, a state dict"),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_one_line_and_the_module_stays(tmp_path, module, change, message):
    torch.save(change(module.state_dict()), tmp_path / "w.pt")
    other = small()
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(UserError, match=message) as refused:
        read_weights(tmp_path / "w.pt").put_into(other, name="Net")
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path / "w.pt"))
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


class Runs:
    def __reduce__(self):
        return (print, ("this must not run",))


def test_a_pickle_is_refused_without_running_it(tmp_path, module, capsys):
    for name, content in (("module.pt", module), ("evil.pt", {"state_dict": {"0.weight": Runs()}})):
        torch.save(content, tmp_path / name)
        with pytest.raises(UserError, match=f"{name}: a pickle that holds more than tensors"):
            read_weights(tmp_path / name)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Runs(), protocol=2))
    with pytest.raises(UserError, match=r"plain\.pkl: "):
        read_weights(tmp_path / "plain.pkl")
    assert "must not run" not in capsys.readouterr().out


def test_a_file_that_is_missing_damaged_or_something_else_is_refused(tmp_path, module):
    with pytest.raises(UserError, match=r"absent\.pt: no such file"):
        read_weights(tmp_path / "absent.pt")
    with pytest.raises(UserError, match="not a file, a file of weights"):
        read_weights(tmp_path)
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    torch.save(module.state_dict(), tmp_path / "w.pt")
    for name in ("w.safetensors", "w.pt"):
        content = (tmp_path / name).read_bytes()
        for damaged in (b"", content[: len(content) // 2], b"\x89PNG\r\n" + content):
            (tmp_path / name).write_bytes(damaged)
            with pytest.raises(UserError, match=name.replace(".", r"\.")) as refused:
                read_weights(tmp_path / name)
            assert "\n" not in str(refused.value)
