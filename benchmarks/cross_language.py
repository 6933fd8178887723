"""Cross-language search: translations found by cosine and by margins, and one more language for a model.

See docs/development/benchmarks.md for options, method and results.
"""

import argparse
import os
import warnings
from time import perf_counter
from typing import Any

import numpy as np
from _common import OUTPUT, machine, show, write_json
from _django_strings import count_words, read_strings

from sk_sentemb import FineTuner, SentenceEmbedder, mine_translations
from sk_sentemb.metrics import translation_accuracy

LANGUAGES = {
    "de": "German",
    "fr": "French",
    "pt": "Portuguese",
    "pt_BR": "Portuguese (Brazil)",
    "zh_Hans": "Chinese",
}
MARGINS = ("absolute", "distance", "ratio")
ENGLISH = "sentence-transformers/all-MiniLM-L6-v2"


def main() -> None:
    """Measure the parts that were asked for, and write the report."""
    args = parse_arguments()
    OUTPUT.mkdir(exist_ok=True)
    warnings.simplefilter("ignore")
    about = machine(["torch", "transformers"])
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    report: dict[str, Any] = {"options": vars(args), "machine": about}
    if "accuracy" in args.parts:
        report["accuracy"] = compare_margins(args.model, args.strings)
    if "mining" in args.parts:
        report["mining"] = mine_among_others(args.model, args.strings)
    if "distill" in args.parts:
        report["distill"] = add_a_language(args.strings, args.epochs, args.seeds)
    write_json("cross_language", report)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--strings",
        default=os.environ.get("SK_SENTEMB_DJANGO"),
        required="SK_SENTEMB_DJANGO" not in os.environ,
        help="Django's wheel, or the folder of an installed Django; default: SK_SENTEMB_DJANGO",
    )
    parser.add_argument(
        "--model",
        default=os.environ.get("SK_SENTEMB_MULTILINGUAL", "intfloat/multilingual-e5-small"),
        help="a multilingual model; default: SK_SENTEMB_MULTILINGUAL, or one of the Hub",
    )
    parts = ["accuracy", "mining", "distill"]
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--epochs", type=int, default=6, help="of the part distill")
    parser.add_argument("--seeds", type=int, default=1, help="of the part distill")
    return parser.parse_args()


def compare_margins(model: str, source: str) -> list[dict[str, Any]]:
    """Return the accuracy of finding translations, by model, language and margin."""
    strings = read_strings(source, list(LANGUAGES))
    strings = strings[count_words(strings["en"]) >= 4]
    rows = []
    for name in (model, ENGLISH):
        embedder = _make_embedder(name).fit(strings["en"])
        english = embedder.transform(strings["en"])
        for language, title in LANGUAGES.items():
            other = embedder.transform(strings[language])
            row: dict[str, Any] = {"model": name.rpartition("/")[2], "language": title}
            for margin in MARGINS:
                found = translation_accuracy(
                    english,
                    other,
                    margin=margin,
                    u_texts=strings["en"],
                    v_texts=strings[language],
                )
                row |= {f"{margin} from": found.u_to_v, f"{margin} to": found.v_to_u}
            rows.append(row)
    formats = {f"{margin} {way}": ".3f" for margin in MARGINS for way in ("from", "to")}
    show(f"{len(strings)} strings: accuracy@1 from English, and to English", rows, formats)
    return rows


def mine_among_others(model: str, source: str) -> list[dict[str, Any]]:
    """Return precision and recall of mining where half of the texts have no translation."""
    strings = read_strings(source, ["de"])
    strings = strings[count_words(strings["en"]) >= 4].reset_index(drop=True)
    third = len(strings) // 3
    # The first third is in both languages, the others in one each.
    left, right = strings["en"][: 2 * third], [*strings["de"][:third], *strings["de"][2 * third :]]
    embedder, rows = _make_embedder(model), []
    for margin in MARGINS:
        pairs = mine_translations(embedder, left, right, margin=margin)
        # Whether a pair is right, from the highest score; texts may be equal in German.
        expected = strings["de"].to_numpy()[pairs["left_row"]]
        correct = (expected == pairs["right"].to_numpy()) & (pairs["left_row"] < third).to_numpy()
        n_correct, n_pairs = np.cumsum(correct), np.arange(1, len(pairs) + 1)
        f1 = 2 * n_correct / (n_pairs + third)
        best = int(f1.argmax())
        rows.append(
            {
                "margin": margin,
                "threshold": float(pairs["score"][best]),
                "precision": n_correct[best] / n_pairs[best],
                "recall": n_correct[best] / third,
                "F1": float(f1[best]),
            }
        )
    formats = {"threshold": ".3f", "precision": ".3f", "recall": ".3f", "F1": ".3f"}
    show(f"{len(left)} English and {len(right)} German strings, {third} in both", rows, formats)
    return rows


def add_a_language(source: str, epochs: int, n_seeds: int) -> list[dict[str, Any]]:
    """Return the accuracy of an English model before and after training on German strings."""
    strings = read_strings(source, ["de"])
    long = strings[count_words(strings["en"]) >= 4]
    teacher = SentenceEmbedder(ENGLISH).fit(strings["en"])
    rows = []
    for seed in range(n_seeds):
        test = long.sample(100, random_state=seed)
        train = strings.drop(test.index)
        train = train[~train["de"].isin(test["de"])]
        texts = [*train["en"], *train["de"]]
        targets = np.tile(teacher.transform(train["en"]), (2, 1))
        tuner = FineTuner(
            "mse", epochs=epochs, learning_rate=3e-4, interpolation=1.0, random_state=seed
        )
        start = perf_counter()
        student = SentenceEmbedder(ENGLISH, fine_tuner=tuner).fit(texts, targets)
        seconds = perf_counter() - start
        english = teacher.transform(test["en"])
        for name, embedder in (("before", teacher), ("after", student)):
            german = embedder.transform(test["de"])
            found = translation_accuracy(english, german, margin="ratio")
            kept = np.einsum("ij,ij->i", english, embedder.transform(test["en"])).mean()
            rows.append(
                {
                    "seed": seed,
                    "model": name,
                    "from English": found.u_to_v,
                    "to English": found.v_to_u,
                    "cosine to the teacher": np.einsum("ij,ij->i", english, german).mean(),
                    "in English": kept,
                    "seconds": seconds if embedder is student else 0.0,
                }
            )
    formats = dict.fromkeys(list(rows[0])[2:6], ".3f") | {"seconds": ".0f"}
    show(f"{len(train)} German strings to train on, 100 to test", rows, formats)
    return [{key: float(v) if key[-1] != "l" else v for key, v in row.items()} for row in rows]


def _make_embedder(model: str) -> SentenceEmbedder:
    """Return an embedder with the prompt that E5 models have for texts compared with their like."""
    return SentenceEmbedder(model, prompt=None if model == ENGLISH else "query: ")


if __name__ == "__main__":
    main()
