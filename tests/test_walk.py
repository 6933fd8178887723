"""How far a reader has to walk to follow one call through the package."""

import sys
import threading
from pathlib import Path

import sk_sentemb
from sk_sentemb import SentenceEmbedder
from sk_sentemb.cache import MemoryCache
from tests.helpers.tiny_models import TINY

PACKAGE = Path(sk_sentemb.__file__).parent
MAX_FILES = 20


def test_transform_of_a_list_of_new_texts_enters_few_files():
    texts = [f"The ferry number {i} leaves the pier." for i in range(50)]
    embedder = SentenceEmbedder(TINY, cache=MemoryCache()).fit(texts)
    entered = set()

    def record(frame, event, arg):
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            entered.add(path.relative_to(PACKAGE).as_posix())

    previous = sys.getprofile()
    sys.setprofile(record)
    threading.setprofile(record)
    try:
        embedder.transform(texts)
    finally:
        sys.setprofile(previous)
        threading.setprofile(None)
    assert {"embedder.py", "_base.py", "encoder/text_encoder.py"} <= entered
    assert len(entered) <= MAX_FILES, sorted(entered)
