"""Products of embeddings that are rounded to bfloat16, fast and with a known error."""

import os
import sys
from typing import Any

import numpy as np

# The largest relative error of a rounded number, and of a float32 one.
_ROUNDING = 2.0**-8
_ROUNDING_FLOAT32 = 2.0**-23

# With fewer queries and products, rounding costs more than it saves.
_MIN_QUERIES = 64
_MIN_PRODUCTS = 10**6

# Norms whose products neither overflow nor vanish.
_NORMS = (1e-12, 1e12)

# Number of documents whose largest product is compared with that of other tiles.
_TILE = 32

_IMPORTED_IN = os.getpid()


class Bfloat16Products:
    """Products of some queries with any documents, in bfloat16."""

    def __init__(self, queries: np.ndarray) -> None:
        self._torch: Any = sys.modules["torch"]
        with self._default_state():
            exact = self._to_tensor(queries)
            self._queries = exact.bfloat16()
            self._rounded_off = (exact - self._queries.float()).norm(dim=1).double().numpy()
        self._norms = np.linalg.norm(queries, axis=1).astype(np.float64)

    @staticmethod
    def is_faster(n_queries: int, n_documents: int, max_norm: float) -> bool:
        """Return whether this CPU multiplies bfloat16, torch is in use, and it is worth it."""
        return (
            n_queries >= _MIN_QUERIES
            and n_queries * n_documents >= _MIN_PRODUCTS
            and _NORMS[0] < max_norm < _NORMS[1]
            and os.getpid() == _IMPORTED_IN  # a forked child would wait for threads of its parent
            and _cpu_multiplies_bfloat16()
        )

    def find_largest(self, block: np.ndarray, n_kept: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the columns and values of the largest products of each query, in any order."""
        with self._default_state():
            products = self._queries @ self._to_tensor(block).bfloat16().T
            n_rows, n_columns = products.shape
            n_tiles = n_columns // _TILE
            if n_tiles <= 2 * n_kept:
                values, columns = products.float().topk(min(n_kept, n_columns), sorted=False)
                return columns.numpy(), values.numpy()
            # A tile has every n_tiles-th column.
            tiled = products[:, : n_tiles * _TILE].reshape(n_rows, _TILE, n_tiles)
            tiles = tiled.amax(dim=1).float().topk(n_kept, sorted=False)[1].numpy()
            columns = (tiles[:, np.newaxis] + n_tiles * np.arange(_TILE)[:, np.newaxis]).reshape(
                n_rows, -1
            )
            rest = np.arange(n_tiles * _TILE, n_columns)
            columns = np.hstack([columns, np.broadcast_to(rest, (n_rows, len(rest)))])
            found = products.gather(1, self._torch.from_numpy(columns))
            values, top = found.float().topk(n_kept, sorted=False)
            return np.take_along_axis(columns, top.numpy(), axis=1), values.numpy()

    def bound_error(self, max_norm: float, magnitudes: np.ndarray) -> np.ndarray:
        """Return how far off products of at most these magnitudes may be, for each query."""
        n_dims = self._queries.shape[1]
        rounded = self._norms + self._rounded_off
        of_documents = rounded * max_norm * _ROUNDING
        of_queries = self._rounded_off * max_norm
        of_sums = n_dims * _ROUNDING_FLOAT32 * rounded * max_norm * (1 + _ROUNDING)
        error = of_documents + of_queries + of_sums
        # The product is rounded as well, to a number that may be larger than the exact product.
        return 1.01 * (error + _ROUNDING * (magnitudes + 2 * error))

    def _to_tensor(self, array: np.ndarray) -> Any:
        # torch warns of arrays that are not writable, such as memory maps.
        return self._torch.from_numpy(array if array.flags.writeable else array.copy())

    def _default_state(self) -> Any:
        return self._torch.autocast("cpu", enabled=False)


def _cpu_multiplies_bfloat16() -> bool:
    # torch has no public function for this. Without either unit, bfloat16 is slower than float32.
    cpu = getattr(sys.modules.get("torch"), "cpu", None)
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(check() for name in checks if (check := getattr(cpu, name, None)))
