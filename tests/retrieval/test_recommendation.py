import numpy as np
import pytest

from sk_sentemb import SemanticIndex, SentenceEmbedder
from sk_sentemb.exceptions import MissingTextWarning
from tests.helpers.tiny_models import TINY
from tests.retrieval.index_data import QUERIES, TEXTS, make_frame


@pytest.fixture(scope="module")
def index():
    return SemanticIndex(SentenceEmbedder(TINY)).fit(make_frame())


def expected_ids(index, profile, seen):
    order = np.argsort(-(index.embeddings_ @ profile), kind="stable")
    return [name for name in index.ids_[order] if name not in seen]


def test_liked_documents_are_averaged_and_left_out(index):
    found = index.recommend(["a", "d"], n=5)
    profile = index.embeddings_[[0, 3]].mean(axis=0)
    assert found["id"].tolist() == expected_ids(index, profile, "ad")
    cosine = index.embeddings_ @ profile / np.linalg.norm(profile)
    order = [list("abcde").index(name) for name in found["id"]]
    np.testing.assert_allclose(found["score"], cosine[order], atol=1e-6)
    assert found["rank"].tolist() == [1, 2, 3]
    assert len(index.recommend(["a", "d"], n=2)) == 2


def test_weights_and_dislikes(index):
    a, b = index.embeddings_[:2]
    for weights in ([3, 1], [1.0, -0.5]):
        found = index.recommend(["a", "b"], weights=weights)
        expected = expected_ids(index, weights[0] * a + weights[1] * b, "ab")
        assert found["id"].tolist() == expected


def test_new_users_by_free_text(index):
    found = index.recommend(texts=[TEXTS[2]], n=1)
    assert found["id"].tolist() == ["c"]
    both = index.recommend(["a"], texts=QUERIES, weights=[1, 2, 0])
    profile = index.embeddings_[0] + 2 * SentenceEmbedder(TINY).fit_transform(QUERIES)[0]
    assert both["id"].tolist() == expected_ids(index, profile, "a")


def test_several_users(index):
    found = index.recommend([["a"], [], ["b", "c"]], texts=[[], [QUERIES[0]], []], n=2)
    for user, alone in enumerate(
        [
            index.recommend(["a"], n=2),
            index.recommend(texts=QUERIES[:1], n=2),
            index.recommend(["b", "c"], n=2),
        ]
    ):
        assert found.loc[found["query"] == user, "id"].tolist() == alone["id"].tolist()


def test_exclude_and_where(index):
    assert set(index.recommend(["a"], exclude=["b", "c"])["id"]) == set("de")
    found = index.recommend([["a"], ["b"]], exclude=[["b"], []], where={"stars": [5, 3, 4]})
    assert found[["query", "id"]].values.tolist() in (
        [[0, "c"], [1, "a"], [1, "c"]],
        [[0, "c"], [1, "c"], [1, "a"]],
    )


def test_liked_documents_without_a_text_do_not_count():
    with pytest.warns(MissingTextWarning):
        index = SemanticIndex(SentenceEmbedder(TINY)).fit([*TEXTS, None])
    with pytest.warns(MissingTextWarning, match="1 of the liked documents"):
        found = index.recommend([0, 5])
    assert found["id"].tolist() == index.recommend([0])["id"].tolist()
    with pytest.raises(ValueError, match="no direction"):
        index.recommend([5])


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({}, ValueError, "Pass the ids"),
        ({"liked": []}, ValueError, r"user 0 \(counting from 0\) likes nothing"),
        ({"liked": [["a"], []]}, ValueError, "user 1 .* likes nothing"),
        ({"liked": "a"}, TypeError, "pass a list"),
        ({"liked": ["a", ["b"]]}, TypeError, "mixes lists and single values"),
        (
            {"liked": ["a", "z"]},
            ValueError,
            "1 ids that are not in the index, such as 'z' of type str",
        ),
        ({"liked": [0]}, ValueError, "such as 0 of type int; those of the index look like 'a'"),
        ({"liked": ["a"], "exclude": ["z"]}, ValueError, "exclude has 1 ids"),
        ({"liked": [["a"], ["b"]], "texts": ["c"]}, ValueError, "are of 1 and 2 users"),
        ({"liked": ["a", "b"], "weights": [1]}, ValueError, r"\[1\] values for \[2\]"),
        ({"liked": ["a"], "weights": [np.nan]}, ValueError, "finite"),
        ({"liked": ["a", "a"], "weights": [1, -1]}, ValueError, "no direction"),
        ({"texts": ["a", None]}, ValueError, "row 1"),
        ({"liked": [["a"], ["b"], ["c"]], "exclude": [["a"], ["b"]]}, ValueError, "2 users"),
    ],
)
def test_bad_arguments_are_refused(index, arguments, error, match):
    with pytest.raises(error, match=match):
        index.recommend(**arguments)
