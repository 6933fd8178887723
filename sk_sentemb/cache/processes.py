"""Which process holds a claim, and whether it still runs."""

import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path


def this_process() -> str:
    """Return a name of this process that no other process on this computer has or will have."""
    return f"{platform.node()} {os.getpid()} {_start_of(os.getpid())}"


def is_running(owner: object) -> bool:
    """Say whether a process may be running; of one on another computer nothing is known."""
    here = f"{platform.node()} "
    if not str(owner).startswith(here):
        return True
    # A name without a start is one that earlier versions wrote; the process may be any.
    process, _, start = str(owner).removeprefix(here).partition(" ")
    try:
        found = _start_of(int(process))
    except ProcessLookupError:
        return False
    except (ValueError, OverflowError):
        return True
    # Numbers of processes are used again, soon where there are many processes or containers.
    return not found or found == start


def _start_of(process: int) -> str:
    """Return when a process started, in some unit; empty if this system does not tell.

    Raises
    ------
    ProcessLookupError
        If there is none with this number, or nothing but its exit status is left of it.
    """
    if os.name != "posix":
        return ""
    with suppress(PermissionError):  # another user's
        os.kill(process, 0)
    try:
        stat = Path("/proc", str(process), "stat").read_text(errors="replace")
    except OSError:  # as on macOS
        state, _, start = _ask_ps(process).partition(" ")
    else:
        fields = stat.rpartition(")")[2].split()  # the name may contain anything
        state, start = fields[0], fields[19]
    if state.startswith("Z"):
        raise ProcessLookupError(process)
    return start.strip()


def _ask_ps(process: int) -> str:
    """Return the state and the start of a process as ``ps`` tells them, or nothing."""
    command = ["ps", "-o", "stat=,lstart=", "-p", str(process)]
    told = {**os.environ, "LC_ALL": "C", "TZ": "UTC0"}
    try:
        return subprocess.run(command, capture_output=True, text=True, env=told).stdout.strip()
    except OSError:
        return ""
