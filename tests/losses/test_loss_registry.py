"""From a name or an object to a loss that supports the data."""

from dataclasses import dataclass

import pytest

from sk_sentemb import losses
from sk_sentemb.losses import (
    CROSS_ENCODER_LOSSES,
    EMBEDDER_LOSSES,
    CoSENTLoss,
    CosinePairsLoss,
    DataFormat,
    Loss,
    MarginMSELoss,
    MatryoshkaLoss,
    OnlineContrastiveLoss,
    SupervisedContrastiveLoss,
    cross_encoder,
)
from sk_sentemb.losses.cross_encoder import (
    BinaryCrossEntropyLoss,
    LambdaLoss,
    ListNetLoss,
    RankNetLoss,
)

BOTH = pytest.mark.parametrize("registry", [EMBEDDER_LOSSES, CROSS_ENCODER_LOSSES])


@dataclass(frozen=True)
class Own(Loss):
    """A user's own loss."""

    formats = (DataFormat.SCORES, DataFormat.LISTS, DataFormat.LABELS)

    def __call__(self, batch):
        return batch.outputs[0].sum()


@dataclass(frozen=True)
class OwnEntropy(BinaryCrossEntropyLoss):
    """A user's own loss that extends one of the package."""


@BOTH
def test_default_of_each_format(registry):
    for data_format, name in registry.defaults.items():
        expected = registry.losses[name]()
        assert registry.resolve("auto", data_format) == expected
        assert data_format in expected.formats


@BOTH
def test_names_are_in_snake_case_of_the_class(registry):
    for name, loss in registry.losses.items():
        joined = name.replace("_", "")
        assert loss.__name__.removesuffix("Loss").lower() == joined


@BOTH
def test_objects_are_kept_if_they_support_the_format(registry):
    for loss in registry.losses.values():
        for data_format in loss.formats:
            assert registry.resolve(loss(), data_format) == loss()


def test_few_classes_have_another_default():
    assert EMBEDDER_LOSSES.resolve("auto", DataFormat.LABELS, 8) == CosinePairsLoss()
    assert EMBEDDER_LOSSES.resolve("auto", DataFormat.LABELS, 9) == SupervisedContrastiveLoss()
    assert EMBEDDER_LOSSES.resolve("auto", DataFormat.BINARY, 1) == OnlineContrastiveLoss()


def test_matryoshka_resolves_the_other_loss():
    resolved = EMBEDDER_LOSSES.resolve(MatryoshkaLoss("auto", dims=(8,)), DataFormat.TRIPLETS)
    assert resolved == MatryoshkaLoss(losses.MultipleNegativesRankingLoss(), dims=(8,))
    named = MatryoshkaLoss("supervised_contrastive")
    assert EMBEDDER_LOSSES.resolve(named, DataFormat.LABELS).groups_classes


def test_a_name_of_both_registries_is_the_loss_of_each():
    name = "multiple_negatives_ranking"
    ours = EMBEDDER_LOSSES.resolve(name, DataFormat.TRIPLETS)
    assert ours == losses.MultipleNegativesRankingLoss()
    assert CROSS_ENCODER_LOSSES.resolve(name) == cross_encoder.MultipleNegativesRankingLoss()
    shared = {*CROSS_ENCODER_LOSSES.losses} & {*EMBEDDER_LOSSES.losses}
    assert shared == {name, "margin_mse", "mse"}


def test_without_a_format_nothing_is_checked():
    assert CROSS_ENCODER_LOSSES.resolve("lambda") == LambdaLoss()
    without = cross_encoder.MultipleNegativesRankingLoss(n_negatives=0)
    assert CROSS_ENCODER_LOSSES.resolve(without) == without


@BOTH
def test_losses_for_both_types_of_models(registry):
    assert registry.resolve(MarginMSELoss(), DataFormat.MARGINS) == MarginMSELoss()
    assert registry.resolve("margin_mse", DataFormat.MARGINS) == MarginMSELoss()
    for data_format in (None, *Own.formats):
        assert registry.resolve(Own(), data_format) == Own()
    assert registry.resolve(OwnEntropy(), DataFormat.BINARY) == OwnEntropy()
    with pytest.raises(ValueError, match="does not support two columns and a class for each pair"):
        registry.resolve(Own(), DataFormat.PAIR_LABELS)


@pytest.mark.parametrize(
    ("loss", "data_format", "message"),
    [
        ("nothing", None, r"pass 'auto', a Loss, or one of \['supervised_contrastive', "),
        ("triplet", DataFormat.PAIRS, r"TripletLoss\(.*\) does not support two columns and no y"),
        (
            MatryoshkaLoss("auto"),
            DataFormat.EMBEDDINGS,
            "does not support one column of texts and an embedding for each",
        ),
        (
            RankNetLoss(),
            DataFormat.SCORES,
            r"loss=RankNetLoss\(sigma=1.0, k=None\), sk_sentemb.losses.cross_encoder.RankNetLoss, is "
            r"for CrossEncoderScorer and CrossEncoderClassifier, not for SentenceEmbedder. Pass 'auto', "
            r"a Loss of your own, or one of \['cosent', 'angle', 'cosine_similarity'\]",
        ),
        (
            "listnet",
            None,
            "loss='listnet' is for CrossEncoderScorer and CrossEncoderClassifier, not",
        ),
        (MatryoshkaLoss(ListNetLoss()), DataFormat.PAIRS, "is for CrossEncoderScorer and"),
        ("auto", DataFormat.LISTS, "No loss of SentenceEmbedder supports two columns and a grade"),
    ],
)
def test_unsuitable_losses_of_embedders_are_errors(loss, data_format, message):
    with pytest.raises(ValueError, match=message):
        EMBEDDER_LOSSES.resolve(loss, data_format)


@pytest.mark.parametrize(
    ("loss", "data_format", "message"),
    [
        ("nothing", None, r"pass 'auto', a Loss, or one of \['binary_cross_entropy', "),
        (
            "lambda",
            DataFormat.PAIRS,
            r"loss=LambdaLoss\(.*\) does not support two columns and no y, the format of X and y. "
            r"Pass 'auto' or one of \['multiple_negatives_ranking'\]",
        ),
        ("listnet", DataFormat.LABELS, "does not support columns of text and a class for each row"),
        (
            CoSENTLoss(),
            DataFormat.SCORES,
            r"is for SentenceEmbedder, not for CrossEncoderScorer and CrossEncoderClassifier. Pass "
            r"'auto', a Loss of your own, or one of \['binary_cross_entropy', 'mse'\]",
        ),
        (
            losses.MultipleNegativesRankingLoss(),
            None,
            "sk_sentemb.losses.MultipleNegativesRankingLoss, is for SentenceEmbedder",
        ),
        ("gist_embed", DataFormat.PAIRS, "loss='gist_embed' is for SentenceEmbedder, not for"),
        (
            MatryoshkaLoss("auto"),
            DataFormat.SCORES,
            "MatryoshkaLoss requires embeddings; cross-encoders output logits",
        ),
        (
            "auto",
            DataFormat.LABELS,
            "No loss of CrossEncoderScorer and CrossEncoderClassifier supports columns of text",
        ),
        (
            cross_encoder.MultipleNegativesRankingLoss(n_negatives=0),
            DataFormat.PAIRS,
            "n_negatives=0 requires triplets",
        ),
    ],
)
def test_unsuitable_losses_of_cross_encoders_are_errors(loss, data_format, message):
    with pytest.raises(ValueError, match=message):
        CROSS_ENCODER_LOSSES.resolve(loss, data_format)
