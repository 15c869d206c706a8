"""What a program costs on a microcontroller: instructions, flash and RAM, by the cross compiler, its linker and QEMU.

QEMU runs with `-icount shift=0`: each instruction takes 1 ns of emulated time, and a timer of the board counts that time, so
that the count is exact to one tick of 40 instructions. Every measurement counts a loop of 300,000 instructions first and is
refused where that count is off by more than three ticks. Instructions are no cycles: loads and taken branches take several on
most cores.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.c.running import Limits, run_limited
from neurodeploy_exporters.c.writing import source

ARM, QEMU = "arm-none-eabi-gcc", "qemu-system-arm"
TOOLS = f"{ARM} and {QEMU} (Debian: gcc-arm-none-eabi, libnewlib-arm-none-eabi, qemu-system-arm; `make mcu` installs them)"
_LOOP = 300_000
_TICK = 40
_SECONDS = 900


@dataclass(frozen=True)
class ArmCore:
    """A processor core, for the compiler, and the emulated board that runs its code.

    Attributes:
        name: "cortex-m4".
        flags: of the compiler.
        board: of QEMU. A core without a board of its own runs on one whose instructions hold all of its.
    """

    name: str
    flags: tuple[str, ...]
    board: str


CORES = {
    core.name: core
    for core in (
        ArmCore("cortex-m0", ("-mcpu=cortex-m0", "-mfloat-abi=soft"), "mps2-an385"),
        ArmCore("cortex-m4", ("-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"), "mps2-an386"),
        ArmCore("cortex-m7", ("-mcpu=cortex-m7", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"), "mps2-an500"),
    )
}


@dataclass(frozen=True)
class Footprint:
    """What an inference takes.

    Attributes:
        core: see `ArmCore`.
        instructions: of each sample.
        flash: bytes of code and constants, of the linker's map; what the compiler's library adds is in it.
        context: bytes of the network's context, of the linker's map.
        stack: bytes that calls used, measured.
    """

    core: str
    instructions: tuple[int, ...]
    flash: int
    context: int
    stack: int

    @property
    def ram(self) -> int:
        """Context and stack; the input is the caller's."""
        return self.context + self.stack

    @property
    def mean(self) -> float:
        return sum(self.instructions) / len(self.instructions)

    @property
    def worst(self) -> int:
        return max(self.instructions)


def missing_tools() -> str:
    """What cannot be found here of what measures; "" if all is there."""
    absent = [tool for tool in (ARM, QEMU) if shutil.which(tool) is None]
    return f"{' and '.join(absent)} not found; instructions are counted with {TOOLS}" if absent else ""


def measured(files: Mapping[str, str], core: str = "cortex-m4", *, optimize: str = "-O2") -> Footprint:
    """Compile a program for a core and run it on its sample in QEMU.

    Args:
        files: name → text, of `CProgram.files` and `selftest_files`.
        core: of `CORES`.
        optimize: of the compiler.

    Raises:
        UserError: a tool is missing, the program does not fit the board's 4 MB of code and of data, its logits differ, or the
            loop that checks the count is off.
    """
    absent = missing_tools()
    if absent:
        raise UserError(absent)
    chosen = CORES[core]
    with TemporaryDirectory(prefix="neurodeploy-mcu-") as name:
        folder = Path(name)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="ascii")
        for extra in ("measure.c", "mps2.c", "mps2.ld"):
            (folder / extra).write_text(source(extra), encoding="ascii")
        units = [file for file in ("body.c", "head.c", "model.c") if file in files]
        _compile(folder, [*units, "measure.c", "mps2.c"], chosen, optimize)
        objects = [f"{Path(file).stem}.o" for file in (*units, "measure.c", "mps2.c")]
        link = [
            ARM,
            "-mthumb",
            *chosen.flags,
            "-nostartfiles",
            "-Wl,--gc-sections",
            "-Wl,-Map=map",
            "-T",
            "mps2.ld",
            "-o",
            "elf",
        ]
        run_limited([*link, *objects], folder, Limits(_SECONDS, None))
        run = [QEMU, "-M", chosen.board, "-icount", "shift=0", "-nographic", "-monitor", "none", "-serial", "none"]
        semihosting = ["-chardev", "stdio,id=out", "-semihosting-config", "enable=on,target=native,chardev=out"]
        said = run_limited([*run, *semihosting, "-kernel", "elf"], folder, Limits(_SECONDS, None)).decode()
        text = (folder / "map").read_text(encoding="utf-8")
        return _footprint(core, said, text, [f"{Path(file).stem}.o" for file in units])


def _compile(folder: Path, units: Sequence[str], core: ArmCore, optimize: str) -> None:
    flags = ["-std=c99", optimize, "-mthumb", *core.flags, "-ffunction-sections", "-fdata-sections"]
    run_limited([ARM, *flags, "-c", *units], folder, Limits(_SECONDS, None))


def _footprint(core: str, said: str, text: str, objects: Sequence[str]) -> Footprint:
    counts: dict[str, list[int]] = {}
    for key, value in re.findall(r"^(\w+) (\d+)$", said, re.MULTILINE):
        counts.setdefault(key, []).append(int(value))
    (loop,) = counts.get("loop", [0])
    if abs(loop - _LOOP) > 3 * _TICK:
        raise UserError(
            f"{QEMU}: a loop of {_LOOP:,} instructions was counted as {loop:,}; the count of this version is not to be used"
        )
    sections = _sections(text)
    flash = sum(
        size for name, size, file in sections if _is_flash(name) and (file in objects or "libgcc" in file or "libc" in file)
    )
    context = next(size for name, size, _ in sections if name == ".bss.measured_context")
    return Footprint(core, tuple(count * _TICK for count in counts["instructions"]), flash, context, counts["stack"][0])


def _is_flash(name: str) -> bool:
    return name.startswith((".text", ".rodata", ".data"))


def _sections(text: str) -> list[tuple[str, int, str]]:
    """Name, bytes and object file of every input section that the linker kept."""
    kept = text.partition("Linker script and memory map")[2]
    found = re.findall(r"^ (\.[\w.$]+)\s+0x[0-9a-f]+\s+0x([0-9a-f]+) (\S+)$", kept, re.MULTILINE)
    return [(name, int(size, 16), Path(file.partition("(")[0]).name) for name, size, file in found]
