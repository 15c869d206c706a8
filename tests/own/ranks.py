"""Processes that train together with what torchrun tells them, forked from one that has imported everything: each would take
seconds for that. Run as a program, it starts the command line so: `ranks.py PROCESSES train recipe.toml …`."""

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable


def start(count: int, work: Callable[[], object]) -> list[int]:
    """Process numbers of as many processes that do the same work; one alone is not told of any group."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [_forked(work, {} if count == 1 else _as_torchrun(rank, count, port)) for rank in range(count)]


def ended_well(pids: list[int]) -> bool:
    """Wait for all; once one fails, the others are killed, which would wait for it."""
    left, well = {*pids}, True
    while left:
        pid, status = os.wait()
        left.discard(pid)
        if status and well:
            well = False
            for other in left:
                os.kill(other, signal.SIGKILL)
    return well


def _as_torchrun(rank: int, count: int, port: int) -> dict[str, str]:
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "none"}
    return {name: str(value) for name, value in (ranks | meeting).items()}


def _forked(work: Callable[[], object], variables: dict[str, str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.environ.update(variables)
        work()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    import lightning_fabric  # noqa: F401 - which the command imports only when it trains

    from neurodeploy.cli.main import main

    processes, sys.argv = int(sys.argv[1]), ["neurodeploy", *sys.argv[2:]]
    sys.path.insert(0, "")  # modules of the user are beside the recipe
    sys.exit(not ended_well(start(processes, main)))
