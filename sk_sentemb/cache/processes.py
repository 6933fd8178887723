"""The process that holds a lease, and whether it is still running."""

import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path


def process_id() -> str:
    """Return a name that no other process of this computer ever has."""
    return f"{platform.node()} {os.getpid()} {_read_start(os.getpid())}"


def is_alive(owner: object) -> bool:
    """Return whether a process may be running; True for a process on another computer."""
    here = f"{platform.node()} "
    if not str(owner).startswith(here):
        return True
    # Earlier versions wrote names without a start time, which may be those of any process.
    process, _, start = str(owner).removeprefix(here).partition(" ")
    try:
        found = _read_start(int(process))
    except ProcessLookupError:
        return False
    except (ValueError, OverflowError):
        return True
    # Process ids are reused, soon where there are many processes or containers.
    return not found or found == start


def _read_start(process: int) -> str:
    """Return when a process started, in some unit; empty if the system does not provide it."""
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
    """Return the state and the start time of a process from ``ps``, or an empty string."""
    command = ["ps", "-o", "stat=,lstart=", "-p", str(process)]
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC0"}
    try:
        return subprocess.run(
            command, capture_output=True, text=True, env=environment
        ).stdout.strip()
    except OSError:
        return ""
