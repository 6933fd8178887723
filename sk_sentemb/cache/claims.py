"""Who embeds which texts right now, so that two threads do not embed the same one."""

import os
import threading
from collections.abc import Iterable

# A claim is given back whatever happens, so this only bounds what a mistake could cost.
_LONGEST_WAIT = 60.0


class Claims:
    """Keys that some thread of this process is embedding."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._given_back = threading.Condition()
        self._keys: set[bytes] = set()

    def _own(self) -> threading.Condition:
        # A forked child has the claims of threads that it does not have.
        if self._process != os.getpid():
            self._begin()
        return self._given_back

    def take(self, keys: Iterable[bytes], limit: int) -> list[bytes]:
        """Claim up to so many of the keys, the first that nobody has."""
        mine: list[bytes] = []
        with self._own():
            for key in keys:
                if len(mine) == limit:
                    break
                if key not in self._keys:
                    mine.append(key)
            self._keys.update(mine)
        return mine

    def give_back(self, keys: Iterable[bytes]) -> None:
        """Let go of keys, embedded or not."""
        with self._own() as _:
            self._keys.difference_update(keys)
            self._given_back.notify_all()

    def wait(self, keys: Iterable[bytes]) -> None:
        """Wait until one of the keys is free."""
        keys = list(keys)
        with self._own():
            self._given_back.wait_for(
                lambda: not self._keys.issuperset(keys), timeout=_LONGEST_WAIT
            )
