import subprocess
import sys

import pytest

from neurodeploy.cli.choices import computing
from neurodeploy.dynamics.kernels import memory
from neurodeploy.io.errors import UserError

_FAULTS = """
import resource, torch
from neurodeploy.dynamics.kernels.memory import tune
{tune}
torch.set_num_threads(1)
for _ in range(10):  # the heap grows at first
    torch.empty(16 << 20).zero_()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.empty(16 << 20).zero_()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(tune: str) -> int:
    code = _FAULTS.format(tune=tune)
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_a_tuned_allocator_uses_a_large_block_again_instead_of_mapping_a_new_one():
    ten_blocks = 10 * (64 << 20) // 4096
    assert _page_faults("tune()") < ten_blocks / 100
    if _page_faults("") < ten_blocks / 100:
        pytest.skip("this system backs large blocks by huge pages, so that mapping them costs few faults")


def test_elsewhere_it_is_refused(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    with pytest.raises(UserError, match="only glibc's, on Linux, can be tuned"):
        memory.tune()


def test_a_refusal_of_the_c_library_is_passed_on(monkeypatch):
    class Library:
        gnu_get_libc_version = mallopt = staticmethod(lambda *_: 0)

    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: Library)
    with pytest.raises(UserError, match=r"mallopt\(-4, 0\) refused"):
        memory.tune()


def test_where_it_cannot_be_tuned_that_is_an_error_only_if_it_was_asked_for(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    entered = []
    for choice in ("auto", "default"):
        with computing(None, choice):
            entered.append(choice)
    assert entered == ["auto", "default"]
    with pytest.raises(UserError, match="only glibc's"), computing(None, "tuned"):
        pass
