"""Hybrid search on Cranfield: nDCG@10 in folds of the queries, with learned weights and re-ranking.

See docs/development/benchmarks.md for options, method and results.
"""

import argparse
import tempfile
import warnings
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
from _common import OUTPUT, data_file, machine, show, write_json
from _reranking import distil, read_collection
from sklearn.model_selection import KFold

from sk_sentemb import CrossEncoderScorer, FineTuner, SemanticRetriever, SentenceEmbedder
from sk_sentemb.metrics import compare_retrievers

SEED, N_FOLDS, TOP = 0, 5, 10
BASELINE = "embedder"
HYBRIDS: dict[str, dict[str, Any]] = {
    BASELINE: {"lexical": None},
    "BM25": {"fusion": "weighted", "weights": {"embedder": 0, "lexical": 1}},
    "reciprocal ranks": {"fusion": "rrf"},
    "learned weights": {},
}
RERANKED = "learned weights, cross-encoder"


def main() -> None:
    """Rank for each fold, compare with the embedder, write the report."""
    args = parse_arguments()
    OUTPUT.mkdir(exist_ok=True)
    warnings.simplefilter("ignore")
    corpus, queries, judgments = read_cranfield()
    splits = KFold(N_FOLDS, shuffle=True, random_state=SEED).split(queries)
    folds = list(splits)[: args.folds]
    systems = dict(HYBRIDS)
    if args.cross_encoder:
        systems[RERANKED] = {"reranker": make_reranker(args), "n_reranked": args.reranked, "cv": 2}
    rankings: dict[str, list[list[Any]]] = {name: [] for name in systems}
    asked: list[int] = []
    for number, (train, test) in enumerate(folds):
        asked += test.tolist()
        for name, parameters in systems.items():
            start = perf_counter()
            retriever = SemanticRetriever(
                corpus, embedder=SentenceEmbedder(device="cpu"), random_state=SEED, **parameters
            )
            retriever.fit(queries[train], [judgments[i] for i in train])
            found = retriever.kneighbors(queries[test], TOP, return_distance=False)
            rankings[name] += retriever.ids_[found].tolist()
            seconds = perf_counter() - start
            print(f"fold {number}, {name}: {retriever.weights_}, {seconds:.0f} s", flush=True)
        # After each fold, because the cross-encoder takes long.
        rows = compare([judgments[i] for i in asked], rankings)
        formats = dict.fromkeys(["nDCG@10", "gain", "low", "high"], ".4f") | {"p": ".4f"}
        show(f"Cranfield, {number + 1} of {N_FOLDS} folds, {len(asked)} queries", rows, formats)
    about = machine(["torch", "transformers", "bm25s"])
    write_json("retrieval_quality", {"options": vars(args), "machine": about, "rows": rows})


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folds", type=int, default=N_FOLDS, help="to run, of five")
    parser.add_argument("--cross-encoder", action="store_true", help="re-rank, too; takes long")
    parser.add_argument("--distilled", help="folder of a distilled cross-encoder; made if absent")
    parser.add_argument("--reranked", type=int, default=50, help="candidates that are re-ranked")
    parser.add_argument("--max-length", type=int, default=128, help="tokens of a pair")
    parser.add_argument("--epochs", type=int, default=2, help="of training on judgments")
    parser.add_argument("--learning-rate", type=float, default=3e-5, help="likewise")
    parser.add_argument("--trainable", default="all", help="'all', or a number of top layers")
    return parser.parse_args()


def read_cranfield() -> tuple[pd.DataFrame, Any, list[dict[int, float]]]:
    """Return documents (title, full stop, text), queries, and grades by document."""
    documents, queries, judged = (
        pd.read_csv(data_file(f"cranfield/{name}.csv")).fillna("")
        for name in ("docs", "queries", "qrels")
    )
    corpus = pd.DataFrame(
        {"id": documents["doc_id"], "text": documents["title"] + ". " + documents["text"]}
    )
    grades = {
        query: dict(zip(rows["doc_id"].tolist(), rows["grade"].tolist(), strict=True))
        for query, rows in judged.groupby("query_id")
    }
    judgments = [grades.get(query, {}) for query in queries["query_id"]]
    return corpus, queries["text"].to_numpy(object), judgments


def make_reranker(args: argparse.Namespace) -> CrossEncoderScorer:
    """Return a cross-encoder that was trained on titles, to be trained on judgments."""
    folder = args.distilled or str(Path(tempfile.mkdtemp(), "distilled"))
    if not Path(folder).is_dir():
        distil(read_collection(), None).save_pretrained(folder)
    trainable = args.trainable if args.trainable == "all" else int(args.trainable)
    tuner = FineTuner(
        loss="lambda",
        epochs=args.epochs,
        learning_rate=args.learning_rate,
        batch_size=32,
        trainable=trainable,
        dtype="auto",
        random_state=SEED,
    )
    return CrossEncoderScorer(
        folder, device="cpu", dtype="auto", max_length=args.max_length, fine_tuner=tuner
    )


def compare(
    judgments: list[dict[int, float]], rankings: dict[str, list[list[Any]]]
) -> list[dict[str, Any]]:
    """Return nDCG@10 of each system, and its gain over the embedder with interval and p."""
    rows = []
    for name, of_system in rankings.items():
        found = compare_retrievers(judgments, rankings[BASELINE], of_system, random_state=SEED)
        rows.append(
            {
                "system": name,
                "nDCG@10": found.mean_b,
                "gain": found.difference,
                "low": found.low,
                "high": found.high,
                "p": found.p_value,
            }
        )
    return rows


if __name__ == "__main__":
    main()
