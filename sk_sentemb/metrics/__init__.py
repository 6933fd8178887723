"""Metrics of rankings, similarities and translations, and scorers for scikit-learn."""

from .judgments import Judgments as Judgments
from .judgments import read_judgments as read_judgments
from .mteb_encoder import as_mteb
from .ranking_metrics import (
    hit_rate_at_k,
    map_at_k,
    mrr_at_k,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
)
from .report import RetrievalReport, RetrieverComparison, compare_retrievers, retrieval_report
from .scorers import (
    average_precision_scorer,
    make_retrieval_scorer,
    pearson_scorer,
    spearman_scorer,
)
from .translation import Candidates as Candidates
from .translation import TranslationAccuracy, margin_scores, translation_accuracy
from .translation import check_margin as check_margin
from .translation import score_candidates as score_candidates

__all__ = [
    "RetrievalReport",
    "RetrieverComparison",
    "TranslationAccuracy",
    "as_mteb",
    "average_precision_scorer",
    "compare_retrievers",
    "hit_rate_at_k",
    "make_retrieval_scorer",
    "map_at_k",
    "margin_scores",
    "mrr_at_k",
    "ndcg_at_k",
    "pearson_scorer",
    "precision_at_k",
    "recall_at_k",
    "retrieval_report",
    "spearman_scorer",
    "translation_accuracy",
]
