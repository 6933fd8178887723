"""Leases on keys, so that no two threads compute the same embedding."""

import os
import threading
from collections.abc import Iterable


class Leases:
    """The keys that threads of this process are computing."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._released = threading.Condition()
        self._owners: dict[bytes, int] = {}

    def _condition(self) -> threading.Condition:
        # A forked child inherits the leases of threads that it does not have.
        if self._process != os.getpid():
            self._reset()
        return self._released

    def acquire(self, keys: Iterable[bytes], limit: int) -> list[bytes]:
        """Acquire the first `limit` keys that no other thread holds."""
        me = threading.get_ident()
        mine: list[bytes] = []
        with self._condition():
            for key in keys:
                if len(mine) == limit:
                    break
                # What this thread holds is left over from an interrupted call, or from one around this.
                if self._owners.get(key, me) == me:
                    mine.append(key)
            self._owners.update(dict.fromkeys(mine, me))
        return mine

    def release(self, keys: Iterable[bytes]) -> list[bytes]:
        """Release the keys that this thread holds, and return them."""
        me = threading.get_ident()
        with self._condition():
            mine = [key for key in keys if self._owners.get(key) == me]
            for key in mine:
                del self._owners[key]
            self._released.notify_all()
        return mine

    def wait(self, keys: Iterable[bytes]) -> None:
        """Wait until one of the keys is free."""
        keys = set(keys)
        with self._condition():
            self._released.wait_for(lambda: not keys <= self._owners.keys())
