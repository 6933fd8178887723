"""Each loss, and its gradient, against sentence-transformers' own loss of the same vectors."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sentence_transformers.sentence_transformer import losses as theirs
from torch import nn
from transformers import AutoTokenizer

from sk_sentemb.losses import (
    EMBEDDER_LOSSES,
    AnglELoss,
    Batch,
    BatchHardTripletLoss,
    BatchSemiHardTripletLoss,
    ContrastiveLoss,
    CoSENTLoss,
    CosinePairsLoss,
    CosineSimilarityLoss,
    GISTEmbedLoss,
    MarginMSELoss,
    MatryoshkaLoss,
    MSELoss,
    MultipleNegativesRankingLoss,
    OnlineContrastiveLoss,
    SimCSELoss,
    SoftmaxLoss,
    SupervisedContrastiveLoss,
    TripletLoss,
)
from tests.helpers.tiny_models import TINY

N_ROWS, DIM = 12, 16


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


COLUMNS = draw(3, N_ROWS, DIM).unbind()
GUIDE = draw(3, N_ROWS, 4).unbind()
CLASSES = torch.arange(N_ROWS) % 4
SCORES = torch.rand(N_ROWS, generator=torch.Generator().manual_seed(0))
BOTH = torch.arange(N_ROWS) % 3 % 2
VECTORS_OF_TEACHER = draw(N_ROWS, DIM)


class Given(nn.Module):
    """A model whose vectors are its input, so that a loss is given any vectors one likes."""

    device = torch.device("cpu")
    max_seq_length = 64

    def __init__(self, n=0):
        super().__init__()
        self.tokenizer = AutoTokenizer.from_pretrained(TINY)
        self.n = n

    def get_embedding_dimension(self):
        return DIM

    def forward(self, features):
        return {"sentence_embedding": features[f"vectors{self.n}"]}

    def __getitem__(self, item):
        return self


def given(columns, guide=()):
    features = [{"vectors0": column} for column in columns]
    for feature, vectors in zip(features, guide, strict=bool(guide)):
        feature["vectors1"] = vectors
    return features


MODEL, GUIDE_MODEL = Given(), Given(1)
cosine_distance = theirs.BatchHardTripletLossDistanceFunction.cosine_distance
pair_cosine = theirs.SiameseDistanceMetric.COSINE_DISTANCE
triplet_cosine = theirs.TripletDistanceMetric.COSINE
manhattan = theirs.SiameseDistanceMetric.MANHATTAN
euclidean = theirs.SiameseDistanceMetric.EUCLIDEAN

# Our loss, theirs, the number of columns, the target
SAME = {
    "cosent": (CoSENTLoss(), theirs.CoSENTLoss(MODEL), 2, SCORES),
    "cosent, ties": (CoSENTLoss(scale=7.0), theirs.CoSENTLoss(MODEL, scale=7.0), 2, BOTH.float()),
    "angle": (AnglELoss(), theirs.AnglELoss(MODEL), 2, SCORES),
    "cosine_similarity": (CosineSimilarityLoss(), theirs.CosineSimilarityLoss(MODEL), 2, SCORES),
    "contrastive": (ContrastiveLoss(), theirs.ContrastiveLoss(MODEL), 2, BOTH),
    "contrastive, Manhattan": (
        ContrastiveLoss(margin=30.0, distance="manhattan"),
        theirs.ContrastiveLoss(MODEL, manhattan, margin=30.0),
        2,
        BOTH,
    ),
    "contrastive, Euclidean": (
        ContrastiveLoss(margin=9.0, distance="euclidean"),
        theirs.ContrastiveLoss(MODEL, euclidean, margin=9.0),
        2,
        BOTH,
    ),
    "online_contrastive": (OnlineContrastiveLoss(), theirs.OnlineContrastiveLoss(MODEL), 2, BOTH),
    "online_contrastive, wide": (
        OnlineContrastiveLoss(margin=2.0),
        theirs.OnlineContrastiveLoss(MODEL, pair_cosine, margin=2.0),
        2,
        BOTH,
    ),
    "multiple_negatives_ranking": (
        MultipleNegativesRankingLoss(),
        theirs.MultipleNegativesRankingLoss(MODEL),
        2,
        None,
    ),
    "multiple_negatives, symmetric": (
        MultipleNegativesRankingLoss(symmetric=True),
        theirs.MultipleNegativesSymmetricRankingLoss(MODEL),
        2,
        None,
    ),
    "multiple_negatives, hard": (
        MultipleNegativesRankingLoss(scale=5.0),
        theirs.MultipleNegativesRankingLoss(MODEL, scale=5.0),
        3,
        None,
    ),
    "simcse": (SimCSELoss(), theirs.MultipleNegativesRankingLoss(MODEL), 2, None),
    "triplet": (TripletLoss(), theirs.TripletLoss(MODEL), 3, None),
    "triplet, cosine": (
        TripletLoss(margin=0.3, distance="cosine"),
        theirs.TripletLoss(MODEL, triplet_cosine, triplet_margin=0.3),
        3,
        None,
    ),
    "margin_mse": (MarginMSELoss(), theirs.MarginMSELoss(MODEL), 3, SCORES),
    "batch_hard_triplet": (BatchHardTripletLoss(), theirs.BatchHardTripletLoss(MODEL), 1, CLASSES),
    "batch_hard_triplet, cosine": (
        BatchHardTripletLoss(margin=0.5, distance="cosine"),
        theirs.BatchHardTripletLoss(MODEL, cosine_distance, margin=0.5),
        1,
        CLASSES,
    ),
    "batch_semi_hard_triplet": (
        BatchSemiHardTripletLoss(),
        theirs.BatchSemiHardTripletLoss(MODEL),
        1,
        CLASSES,
    ),
    "batch_semi_hard_triplet, cosine": (
        BatchSemiHardTripletLoss(margin=0.5, distance="cosine"),
        theirs.BatchSemiHardTripletLoss(MODEL, cosine_distance, margin=0.5),
        1,
        CLASSES,
    ),
    "mse": (MSELoss(), theirs.MSELoss(MODEL), 1, VECTORS_OF_TEACHER),
    "matryoshka, cosent": (
        MatryoshkaLoss(CoSENTLoss(), dims=(16, 8, 4), weights=(1.0, 0.5, 2.0)),
        theirs.MatryoshkaLoss(MODEL, theirs.CoSENTLoss(MODEL), [16, 8, 4], [1.0, 0.5, 2.0]),
        2,
        SCORES,
    ),
    "matryoshka, triplet": (
        MatryoshkaLoss(TripletLoss(), dims=(16, 4)),
        theirs.MatryoshkaLoss(MODEL, theirs.TripletLoss(MODEL), [16, 4]),
        3,
        None,
    ),
}


def with_gradients(columns):
    return [column.clone().requires_grad_() for column in columns]


def assert_same_loss(ours, batch, value_of_theirs):
    mine, other = with_gradients(batch.outputs), with_gradients(batch.outputs)
    loss = ours(Batch(mine, batch.target, batch.weight, batch.head, batch.guide))
    expected = value_of_theirs(other)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    assert loss.item() > 0
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", SAME)
def test_same_as_sentence_transformers(name):
    ours, other, n_columns, target = SAME[name]
    assert_same_loss(
        ours, Batch(COLUMNS[:n_columns], target), lambda columns: other(given(columns), target)
    )


@pytest.mark.parametrize("n_columns", [2, 3])
def test_gist_hides_what_the_guide_takes_for_a_positive(n_columns):
    guide = [F.normalize(column, dim=1) for column in GUIDE[:n_columns]]
    # sentence-transformers keeps a text as a candidate for itself, if rounding makes its cosine with
    # itself no larger than that with its positive: not with these vectors.
    own = (guide[0] * guide[1]).sum(dim=1)
    assert own.max() < 0.99
    other = theirs.GISTEmbedLoss(MODEL, GUIDE_MODEL)
    assert_same_loss(
        GISTEmbedLoss(),
        Batch(COLUMNS[:n_columns], guide=guide),
        lambda columns: other(given(columns, guide), None),
    )


def test_softmax_of_pairs_is_that_of_sentence_transformers():
    other = theirs.SoftmaxLoss(MODEL, DIM, 4)
    other.classifier = SoftmaxLoss().make_head(DIM, 4, n_columns=2)
    batch = Batch(COLUMNS[:2], CLASSES, head=other.classifier)
    assert_same_loss(SoftmaxLoss(), batch, lambda columns: other(given(columns), CLASSES))


@pytest.mark.parametrize("n_columns", [1, 3])
def test_softmax_of_texts_is_the_cross_entropy_of_the_concatenated_embeddings(n_columns):
    head = SoftmaxLoss().make_head(DIM, 4, n_columns)
    assert_same_loss(
        SoftmaxLoss(),
        Batch(COLUMNS[:n_columns], CLASSES, head=head),
        lambda columns: F.cross_entropy(head(torch.cat(list(columns), dim=1)), CLASSES),
    )


def test_every_loss_is_compared():
    tried = {type(ours) for ours, *_ in SAME.values()}
    here = {GISTEmbedLoss, SoftmaxLoss, SupervisedContrastiveLoss, CosinePairsLoss}
    assert tried | here == {*EMBEDDER_LOSSES.losses.values(), MatryoshkaLoss}


def test_supervised_contrastive_is_the_formula_of_the_paper():
    x = F.normalize(COLUMNS[0], dim=1).double()
    classes = torch.tensor([0, 0, 1, 1, 1, 2, 0, 2, 3, 3, 1, 4])  # the last one is alone
    of_anchors = []
    for i in range(N_ROWS):
        others = [a for a in range(N_ROWS) if a != i]
        positives = [p for p in others if classes[p] == classes[i]]
        total = sum(torch.exp(x[i] @ x[a] / 0.1) for a in others)
        terms = [-torch.log(torch.exp(x[i] @ x[p] / 0.1) / total) for p in positives]
        of_anchors += [sum(terms) / len(terms)] if terms else []
    assert len(of_anchors) == 11
    loss = SupervisedContrastiveLoss(temperature=0.1)(Batch([COLUMNS[0]], classes))
    assert loss.item() == pytest.approx(float(sum(of_anchors)) / 11, rel=1e-5)


def test_cosine_pairs_is_the_mean_over_pairs_of_either_kind():
    x = F.normalize(COLUMNS[0], dim=1)
    errors = {True: [], False: []}
    for i in range(N_ROWS):
        for j in range(i):
            same = bool(CLASSES[i] == CLASSES[j])
            errors[same].append((float(x[i] @ x[j]) - same) ** 2)
    expected = (np.mean(errors[True]) + np.mean(errors[False])) / 2
    assert CosinePairsLoss()(Batch([COLUMNS[0]], CLASSES)).item() == pytest.approx(
        expected, rel=1e-5
    )


# A loss and what it is given, for what holds of all of them
EVERY = {
    **{name: (ours, COLUMNS[:n], target) for name, (ours, _, n, target) in SAME.items()},
    "supervised_contrastive": (SupervisedContrastiveLoss(), COLUMNS[:1], CLASSES),
    "cosine_pairs": (CosinePairsLoss(), COLUMNS[:1], CLASSES),
    "softmax": (SoftmaxLoss(), COLUMNS[:1], CLASSES),
    "softmax of pairs": (SoftmaxLoss(), COLUMNS[:2], CLASSES),
    "gist_embed": (GISTEmbedLoss(), COLUMNS[:2], None),
}


def batch_of(name, rows=slice(None), weight=None):
    ours, columns, target = EVERY[name]
    torch.manual_seed(0)
    return Batch(
        [column[rows] for column in columns],
        None if target is None else target[rows],
        weight,
        ours.make_head(DIM, DIM if target is VECTORS_OF_TEACHER else 4, len(columns)),
        [F.normalize(column[rows], dim=1) for column in GUIDE[: len(columns)]],
    )


@pytest.mark.parametrize("name", EVERY)
def test_equal_weights_change_nothing(name):
    ours = EVERY[name][0]
    weighted = ours(batch_of(name, weight=torch.full((N_ROWS,), 3.0)))
    torch.testing.assert_close(weighted, ours(batch_of(name)))


@pytest.mark.parametrize("name", EVERY)
def test_other_weights_change_the_loss_and_no_gradient_is_lost(name):
    ours = EVERY[name][0]
    weight = torch.arange(N_ROWS).float()
    batch = batch_of(name, weight=weight)
    columns = with_gradients(batch.outputs)
    loss = ours(Batch(columns, batch.target, weight, batch.head, batch.guide))
    assert loss.item() != pytest.approx(ours(batch_of(name)).item(), rel=1e-4)
    loss.backward()
    assert all(torch.isfinite(column.grad).all() for column in columns)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("rows", [[0], [0, 4], [0, 1], [0, 0]], ids=str)
def test_tiny_batches_are_finite(name, rows):
    """One row, two of a class, two of two, and the same text twice."""
    ours = EVERY[name][0]
    batch = batch_of(name, rows)
    columns = with_gradients(batch.outputs)
    loss = ours(Batch(columns, batch.target, None, batch.head, batch.guide))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(c.grad is None or torch.isfinite(c.grad).all() for c in columns)


@pytest.mark.parametrize(
    "name", ["softmax", "cosine_similarity", "contrastive", "mse", "triplet", "margin_mse"]
)
def test_a_row_of_weight_zero_is_as_if_it_were_not_there(name):
    ours = EVERY[name][0]
    weight = (torch.arange(N_ROWS) >= 3).float()
    found = ours(batch_of(name, weight=weight))
    torch.testing.assert_close(found, ours(batch_of(name, slice(3, None))))


@pytest.mark.parametrize("name", ["cosent", "angle", "supervised_contrastive", "cosine_pairs"])
def test_weights_of_pairs_are_products(name):
    """A row of weight zero is never what the loss is about."""
    ours = EVERY[name][0]
    weight = (torch.arange(N_ROWS) >= 4).float()
    columns = with_gradients(batch_of(name).outputs)
    ours(Batch(columns, EVERY[name][2], weight)).backward()
    gradient = columns[0].grad[:4].abs().max()
    assert gradient > 0 if name == "supervised_contrastive" else gradient == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CoSENTLoss(scale=0), "scale=0: pass a number above 0"),
        (lambda: GISTEmbedLoss("all-MiniLM-L6-v2"), "scale='all-MiniLM-L6-v2': pass a number"),
        (lambda: SupervisedContrastiveLoss(temperature=-1), "temperature=-1"),
        (lambda: TripletLoss(distance="euclid"), "distance='euclid': pass one of"),
        (lambda: BatchHardTripletLoss(distance="manhattan"), "'euclidean', 'cosine'"),
        (lambda: ContrastiveLoss(margin=float("nan")), "margin=nan"),
        (lambda: MatryoshkaLoss(dims=()), "dims="),
        (lambda: MatryoshkaLoss(dims=(8, 0)), "dims="),
        (lambda: MatryoshkaLoss(dims=(8, 4), weights=(1,)), "one for each of dims"),
        (
            lambda: MSELoss().make_head(16, 8),
            "y has embeddings of 8 dimensions, but the model outputs 16",
        ),
    ],
)
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()
