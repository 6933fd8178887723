"""Documents and queries of the tests of the index."""

import pandas as pd

TEXTS = [
    "Tap on the card to freeze it.",
    "We exchange money at the bank's rate.",
    "Your new card comes by mail.",
    "Loans have a fixed rate.",
    "We are closed on Sundays.",
]
QUERIES = ["How do I freeze my card?", "When are you open?"]


def make_frame(**columns):
    return pd.DataFrame(
        {"id": list("abcde"), "text": TEXTS, "stars": [5, 3, 4, 1, 2], **columns},
    )
