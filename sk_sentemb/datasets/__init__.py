"""Datasets for examples: ``load_*`` reads files of the package, ``fetch_*`` downloads them."""

from ._banking77 import fetch_banking77, load_banking77_sample

__all__ = ["fetch_banking77", "load_banking77_sample"]
