"""Print the time from a start (seconds since 1970) to the first prediction of a pipeline."""

import sys
from time import time

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sk_sentemb import SentenceEmbedder

started = float(sys.argv[1]) if len(sys.argv) > 1 else time()

X = [
    "My card was stolen.",
    "I lost my card.",
    "What is the rate for euros?",
    "How much is a dollar?",
]
y = ["card", "card", "rate", "rate"]

classifier = make_pipeline(SentenceEmbedder(), LogisticRegression()).fit(X, y)
text = "Somebody took my card."
print(f"{text} -> {classifier.predict([text])[0]}")
print(f"First prediction after {time() - started:.0f} s.")
