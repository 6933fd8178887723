"""Metrics of rankings, similarities and translations, and scorers for scikit-learn."""
