"""Real text to try things on: ``load_*`` needs no network, ``fetch_*`` downloads and checks."""

from sk_sentemb.datasets._banking77 import fetch_banking77
from sk_sentemb.datasets._docstrings import load_docstrings

__all__ = ["fetch_banking77", "load_docstrings"]
