"""Who embeds which texts right now, so that no two threads or processes embed the same one."""

import os
import threading
from collections.abc import Iterable


class Leases:
    """Keys that some thread of this process is embedding."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._given_back = threading.Condition()
        self._owners: dict[bytes, int] = {}

    def _own(self) -> threading.Condition:
        # A forked child has the claims of threads that it does not have.
        if self._process != os.getpid():
            self._begin()
        return self._given_back

    def take(self, keys: Iterable[bytes], limit: int) -> list[bytes]:
        """Claim up to so many of the keys, the first that no other thread has."""
        me = threading.get_ident()
        mine: list[bytes] = []
        with self._own():
            for key in keys:
                if len(mine) == limit:
                    break
                # What this thread has is left over from a call that was interrupted, or around this.
                if self._owners.get(key, me) == me:
                    mine.append(key)
            self._owners.update(dict.fromkeys(mine, me))
        return mine

    def give_back(self, keys: Iterable[bytes]) -> list[bytes]:
        """Let go of those of the keys that this thread has, and return them."""
        me = threading.get_ident()
        with self._own():
            mine = [key for key in keys if self._owners.get(key) == me]
            for key in mine:
                del self._owners[key]
            self._given_back.notify_all()
        return mine

    def wait(self, keys: Iterable[bytes]) -> None:
        """Wait until one of the keys is free."""
        keys = set(keys)
        with self._own():
            self._given_back.wait_for(lambda: not keys <= self._owners.keys())
