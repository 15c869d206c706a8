"""A process of its own for what reads and runs files of others: little memory, time and disk, no network, a read-only view.

The child sets its own limits before it looks at any file, so that nothing of the parent has to be trusted to survive a fork.
Linux has all of them; elsewhere memory and time alone are limited, as far as the system can.
"""

import ctypes
import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from neurodeploy.io.errors import Failure, UserError

SWITCH = "NEURODEPLOY_CAGE"
"""Environment variable: "off", or limits such as "seconds=3600 gib=32"; "inside" in the child itself."""
_INSIDE, _OFF = "inside", "off"
_GIB = 1 << 30
_QUIET = {"MALLOC_ARENA_MAX": "2", "ORT_DISABLE_TELEMETRY": "1"}
"""Address space is not claimed for each thread, and nothing is written to the home, where it could not be."""
_IMPORTED = ("torch", "onnxruntime")
"""What takes much address space by itself, before any file is read: limits count from there."""


@dataclass(frozen=True)
class CageLimits:
    """Of a child.

    Attributes:
        seconds: of time.
        gib: of memory beside what an idle Python with torch takes, in GiB.
        file_gib: size of a file that it writes, in GiB.
        writable: folders that it may write to, beside a temporary one of its own.
        network: whether it may use the network.
    """

    seconds: float = 3600.0
    gib: float = 8.0
    file_gib: float = 4.0
    writable: tuple[str, ...] = ()
    network: bool = False


def is_wanted() -> bool:
    """Whether files of others are to be read in a cage here: unless the user switched it off, or this is the cage."""
    return os.environ.get(SWITCH) not in (_INSIDE, _OFF)


def chosen_limits(limits: CageLimits) -> CageLimits:
    """The limits with those of the environment variable in their places.

    Raises:
        UserError: it is of another form.
    """
    for part in os.environ.get(SWITCH, "").split():
        name, _, value = part.partition("=")
        try:
            number = float(value) if name in ("seconds", "gib") else 0.0
        except ValueError:
            number = 0.0
        if not 0 < number < float("inf"):
            raise UserError(f'{SWITCH}: {part!r} found, "off" or limits such as "seconds=3600 gib=32" expected')
        limits = replace(limits, seconds=number) if name == "seconds" else replace(limits, gib=number)
    return limits


def run_caged(arguments: Sequence[str], limits: CageLimits, *, origin: str) -> int:
    """Run `python -m ARGUMENTS` in a cage, with this process's output and errors.

    Args:
        arguments: a module and what follows.
        limits: see `CageLimits`.
        origin: what messages name: the file of others.

    Returns:
        The exit code.

    Raises:
        UserError: it was ended for what it did: the file is damaged or hostile.
        Failure: it took more time than it is given.
    """
    path = os.pathsep.join(one or str(Path.cwd()) for one in sys.path)
    with TemporaryDirectory(prefix="neurodeploy-cage-") as temporary:
        settings = json.dumps(asdict(replace(limits, writable=(*limits.writable, temporary))))
        environment = {**os.environ, **_QUIET, SWITCH: _INSIDE, "TMPDIR": temporary, "PYTHONPATH": path}
        command = [sys.executable, "-P", "-m", "neurodeploy.io.cage", settings, *arguments]
        child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
        try:
            code = _waited_for(child, limits.seconds)
        finally:
            child.kill()
            child.wait()
    if code is None:
        raise Failure(
            f"{origin}: not done after {limits.seconds:g} s, ended; set {SWITCH}='seconds=…' for more time if you trust it"
        )
    if code < 0:
        known = {one.value: one.name for one in signal.Signals}
        name = known.get(-code, f"signal {-code}")
        raise UserError(f"{origin}: the process that read it was ended by {name}: damaged, or made to do harm; not used")
    return code


def _waited_for(child: "subprocess.Popen[bytes]", seconds: float) -> int | None:
    """The exit code; None after so many seconds. Ctrl-C reaches the child as well, which ends in its own way."""
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    except KeyboardInterrupt:
        child.terminate()
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            return child.wait(10)
        raise


_NEWNS, _NEWUSER, _NEWNET = 0x00020000, 0x10000000, 0x40000000
_BIND, _RECURSIVE, _PRIVATE = 4096, 16384, 1 << 18
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _READ_ONLY = 442, -100, 0x8000, 1
_NO_NEW_PRIVILEGES = 38


class _Attributes(ctypes.Structure):
    """`struct mount_attr` of Linux."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def isolate(writable: Sequence[str], *, network: bool) -> tuple[str, ...]:
    """Take the network and the right to write from this process, as far as this system lets it; threads must not run yet.

    Args:
        writable: folders that stay as they are.
        network: stays.

    Returns:
        What was taken: "network", "disk".
    """
    if not sys.platform.startswith("linux"):
        return ()
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    # root needs no user namespace, and would lose its rights to files of others in one
    own = 0 if user == 0 else _NEWUSER
    if libc.unshare(own | _NEWNS | (0 if network else _NEWNET)):
        return ()
    if own:
        with suppress(OSError):
            for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
                Path(f"/proc/self/{name}").write_text(text)
    taken: tuple[str, ...] = () if network else ("network",)
    if not libc.mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, None) and _read_only(libc, writable):
        taken += ("disk",)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return taken


def _read_only(libc: ctypes.CDLL, writable: Sequence[str]) -> bool:
    folders = [os.fsencode(os.path.realpath(one)) for one in (*writable, "/dev") if Path(one).is_dir()]
    for folder in folders:  # a mount of its own, whose flags are its own
        if libc.mount(folder, folder, None, _BIND | _RECURSIVE, None):
            return False

    def changed(path: bytes, **flags: int) -> bool:
        attributes = _Attributes(**flags)
        size = ctypes.sizeof(attributes)
        return not libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, path, _AT_RECURSIVE, ctypes.byref(attributes), size)

    if not (changed(b"/", attr_set=_READ_ONLY) and all(changed(folder, attr_clr=_READ_ONLY) for folder in folders)):
        return False
    with suppress(OSError):
        os.chdir(Path.cwd())  # where this process stands is on the old mount as long as it does not go there again
    return True


def limit(limits: CageLimits) -> None:
    """Limit this process's memory and files; what it has taken already does not count."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    file = int(limits.file_gib * _GIB)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file, file))
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        taken = next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmSize:"))
        resource.setrlimit(resource.RLIMIT_AS, (taken + int(limits.gib * _GIB),) * 2)


def _main() -> None:
    settings, module, *arguments = sys.argv[1:]
    content = json.loads(settings)
    limits = CageLimits(**content | {"writable": tuple(content["writable"])})
    isolate(limits.writable, network=limits.network)
    for name in _IMPORTED:
        with suppress(ImportError):
            __import__(name)
    limit(limits)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
