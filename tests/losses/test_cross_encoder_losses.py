"""Each loss of a cross-encoder against sentence-transformers' own loss of the same logits."""

import pickle
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import losses as theirs
from torch import nn

from sk_sentemb.losses import (
    CROSS_ENCODER_LOSSES,
    Batch,
    MarginMSELoss,
)
from sk_sentemb.losses.cross_encoder import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    LambdaLoss,
    ListNetLoss,
    MSELoss,
    MultipleNegativesRankingLoss,
    RankNetLoss,
)

N_ROWS = 12


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class Given(CrossEncoder):
    """A model whose logits for query i and document j are `logits[i, j]`; it notes what it is asked."""

    num_labels = 1
    device = torch.device("cpu")

    def __init__(self, n_labels=1):
        nn.Module.__init__(self)
        self.num_labels = n_labels

    def give(self, logits):
        self.logits, self.asked = logits, []
        return self

    def preprocess(self, pairs, **options):
        self.asked.append(pairs)
        queries, documents = zip(*pairs, strict=True)
        return {"scores": self.logits[list(queries), list(documents)]}

    def forward(self, features):
        return features


def draw(n_documents, n_labels=1, n_rows=N_ROWS):
    return 2 * torch.randn(n_rows, n_documents, n_labels, generator=generator(n_documents))


TARGETS = {
    "scores": torch.rand(N_ROWS, generator=generator()),
    "binary": torch.arange(N_ROWS) % 3 % 2,
    "classes": torch.arange(N_ROWS) % 4,
    "margins": 3 * torch.randn(N_ROWS, generator=generator()),
}

# Our loss, theirs, how many logits a pair has, how many columns of pairs there are, the target
SAME = {
    "binary_cross_entropy": (
        BinaryCrossEntropyLoss(),
        theirs.BinaryCrossEntropyLoss,
        1,
        1,
        "scores",
    ),
    "binary_cross_entropy, 0 and 1": (
        BinaryCrossEntropyLoss(),
        theirs.BinaryCrossEntropyLoss,
        1,
        1,
        "binary",
    ),
    "mse": (MSELoss(), theirs.MSELoss, 1, 1, "scores"),
    "cross_entropy": (CrossEntropyLoss(), theirs.CrossEntropyLoss, 4, 1, "classes"),
    "cross_entropy, smooth": (
        CrossEntropyLoss(label_smoothing=0.2),
        lambda model: theirs.CrossEntropyLoss(model, label_smoothing=0.2),
        4,
        1,
        "classes",
    ),
    "cross_entropy, 2 logits": (CrossEntropyLoss(), theirs.CrossEntropyLoss, 2, 1, "binary"),
    "cross_entropy, 1 logit": (CrossEntropyLoss(), theirs.BinaryCrossEntropyLoss, 1, 1, "binary"),
    "margin_mse": (MarginMSELoss(), theirs.MarginMSELoss, 1, 2, "margins"),
}


def differentiated(loss, logits):
    """Return the value of a loss of logits, and its gradient."""
    logits = logits.clone().requires_grad_()
    value = loss(logits)
    value.backward()
    return value.detach(), logits.grad


def assert_same(ours, other, logits):
    (value, gradient), (expected, gradient_of_theirs) = (
        differentiated(loss, logits) for loss in (ours, other)
    )
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, gradient_of_theirs, rtol=1e-4, atol=1e-6)
    assert torch.isfinite(gradient).all()
    assert value.item() > 0
    assert gradient.any()


@pytest.mark.parametrize("name", SAME)
def test_same_as_sentence_transformers(name):
    ours, other, n_labels, n_columns, target = SAME[name]
    target = TARGETS[target]
    model = Given(n_labels)
    rows = list(range(N_ROWS))
    texts = [rows, *([k] * N_ROWS for k in range(n_columns))]

    def value_of_theirs(logits):
        return other(model.give(logits))(texts, target)

    assert_same(
        lambda logits: ours(Batch(logits.unbind(1), target)),
        value_of_theirs,
        draw(n_columns, n_labels),
    )


@pytest.mark.parametrize("n_columns", [1, 2])
@pytest.mark.parametrize(("n_negatives", "scale"), [(4, 10.0), (2, 3.0), (None, 10.0)])
def test_random_negatives_same_as_sentence_transformers(n_columns, n_negatives, scale):
    """Theirs draws documents of the batch; ours is given the logits for these."""
    model = Given()
    rows = list(range(N_ROWS))
    texts = [rows, rows, [row + N_ROWS for row in rows]][: n_columns + 1]
    logits = draw(n_columns * N_ROWS)

    def value_of_theirs(logits):
        loss = theirs.MultipleNegativesRankingLoss(
            model.give(logits), num_negatives=n_negatives, scale=scale
        )
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return loss(texts, None)

    value_of_theirs(logits)
    asked = model.asked
    n_drawn = n_columns * (N_ROWS - 1) if n_negatives is None else n_negatives
    assert len(asked) == 1 + n_drawn + n_columns - 1

    def value_of_ours(logits):
        columns = [logits[list(q), list(d)] for q, d in (zip(*p, strict=True) for p in asked)]
        return MultipleNegativesRankingLoss(n_negatives=n_drawn, scale=scale)(Batch(columns))

    assert_same(value_of_ours, value_of_theirs, logits)


# Lists of grades: what a test is named by, and the lists
GRADES = {
    "even": [[0, 1, 2, 3], [3, 0, 0, 1], [1, 0, 1, 0]],
    "ragged": [[1, 0], [2, 0, 3, 1, 0, 0, 1], [0, 0, 1], [0.2, 0.9, 0.5, 0.1]],
    "ragged, with a list of one": [[1], [0, 1, 0, 0, 2], [1, 0, 4]],
    "one list": [[0, 3, 1, 1, 2]],
    "a best one": [[0, 0, 1, 0, 0, 0], [1, 0, 0, 0]],
    "below 0": [[-1, 0.5, 2, -3], [-2, -1]],
    "many": [[(i + j * j) % 5 for j in range(3 + i)] for i in range(20)],
}
FLAT = [[0, 0, 0], [1], [2, 2]]

# Our loss and theirs
RANKING = {
    "listnet": (ListNetLoss(), theirs.ListNetLoss),
    "ranknet": (RankNetLoss(), theirs.RankNetLoss),
    "ranknet, k and sigma": (
        RankNetLoss(sigma=0.5, k=2),
        lambda model: theirs.RankNetLoss(model, sigma=0.5, k=2),
    ),
    "lambda": (LambdaLoss(), theirs.LambdaLoss),
    "lambda, all parameters": (
        LambdaLoss(mu=3.0, sigma=2.0, k=3),
        lambda model: theirs.LambdaLoss(model, theirs.NDCGLoss2PPScheme(mu=3.0), sigma=2.0, k=3),
    ),
    "lambdarank": (
        LambdaLoss("lambdarank"),
        lambda model: theirs.LambdaLoss(model, theirs.LambdaRankScheme()),
    ),
    "lambdarank, k": (
        LambdaLoss("lambdarank", k=1),
        lambda model: theirs.LambdaLoss(model, theirs.LambdaRankScheme(), k=1),
    ),
    "ndcg2": (
        LambdaLoss("ndcg2"),
        lambda model: theirs.LambdaLoss(model, theirs.NDCGLoss2Scheme()),
    ),
    "ndcg2, k": (
        LambdaLoss("ndcg2", k=2),
        lambda model: theirs.LambdaLoss(model, theirs.NDCGLoss2Scheme(), k=2),
    ),
}
PAIRWISE = [name for name in RANKING if name != "listnet"]


@dataclass(frozen=True)
class Ranked:
    """Lists of grades as the rows of a batch."""

    grades: list
    weight: torch.Tensor | None = None

    @property
    def n_rows(self):
        return sum(map(len, self.grades))

    @property
    def logits(self):
        return 2 * torch.randn(self.n_rows, 1, generator=generator(self.n_rows))

    def ours(self, loss, numbers=None):
        sizes = torch.tensor([*map(len, self.grades)])
        numbers = torch.arange(len(sizes)) if numbers is None else torch.tensor(numbers)
        target = torch.tensor([float(grade) for of_list in self.grades for grade in of_list])
        lists = numbers.repeat_interleave(sizes)
        return lambda logits: loss(Batch([logits], target, self.weight, query_ids=lists))

    def theirs(self, loss):
        # One row for each query, one column for each row of the batch.
        rows = iter(range(self.n_rows))
        documents = [[next(rows) for _ in of_list] for of_list in self.grades]
        labels = [torch.tensor(of_list, dtype=torch.float32) for of_list in self.grades]

        def value(logits):
            table = logits[None].expand(len(self.grades), -1, -1)
            return loss(Given().give(table))([list(range(len(documents))), documents], labels)

        return value


@pytest.mark.parametrize("grades", GRADES)
@pytest.mark.parametrize("name", RANKING)
def test_lists_same_as_sentence_transformers(name, grades):
    ours, other = RANKING[name]
    data = Ranked(GRADES[grades])
    assert_same(data.ours(ours), data.theirs(other), data.logits)


@pytest.mark.parametrize("name", RANKING)
def test_equal_logits_are_ranked_as_they_stand(name):
    ours, other = RANKING[name]
    data = Ranked(GRADES["ragged"])
    logits = torch.zeros(data.n_rows, 1)
    assert_same(data.ours(ours), data.theirs(other), logits)
    assert_same(data.ours(ours), data.theirs(other), data.logits.round())


@pytest.mark.parametrize("name", RANKING)
@pytest.mark.parametrize("size", [1e3, 1e6])
def test_huge_logits(name, size):
    ours, other = RANKING[name]
    data = Ranked(GRADES["ragged"])
    assert_same(data.ours(ours), data.theirs(other), data.logits * size)


@pytest.mark.parametrize("name", RANKING)
def test_numbers_of_lists_are_names(name):
    """They need neither begin at 0 nor rise."""
    data = Ranked(GRADES["ragged"])
    loss = RANKING[name][0]
    assert_same(data.ours(loss, numbers=[70, 3, 9, 4]), data.ours(loss), data.logits)


@pytest.mark.parametrize("name", PAIRWISE)
def test_lists_of_equal_grades_are_as_if_they_were_not_there(name):
    ours, other = RANKING[name]
    with_flat = Ranked([[0, 2, 1], *FLAT, [1, 0]])
    assert_same(with_flat.ours(ours), with_flat.theirs(other), with_flat.logits)
    logits = with_flat.logits
    value, gradient = differentiated(with_flat.ours(ours), logits)
    without, _ = differentiated(
        Ranked([[0, 2, 1], [1, 0]]).ours(ours), torch.cat([logits[:3], logits[-2:]])
    )
    torch.testing.assert_close(value, without)
    assert not gradient[3:-2].any()


def test_lists_of_equal_grades_have_a_loss_of_zero_in_listnet():
    """Theirs pulls their logits together; the mean of ours is over as many lists."""
    data = Ranked([[0, 2, 1], *FLAT, [1, 0]])
    logits = data.logits
    value, gradient = differentiated(data.ours(ListNetLoss()), logits)
    one = Ranked([[0, 2, 1]]).ours(ListNetLoss())(logits[:3])
    other = Ranked([[1, 0]]).ours(ListNetLoss())(logits[-2:])
    torch.testing.assert_close(value, (one + other) / 5)
    assert not gradient[3:-2].any()


@pytest.mark.parametrize("name", RANKING)
@pytest.mark.parametrize("grades", [FLAT, [[1]], [[0, 0]]], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_nothing_but_equal_grades_is_a_loss_of_zero(name, grades, weighted):
    data = Ranked(grades)
    weight = torch.rand(data.n_rows, generator=generator()) if weighted else None
    value, gradient = differentiated(
        replace(data, weight=weight).ours(RANKING[name][0]), data.logits
    )
    assert value.item() == 0
    assert not gradient.any()


@pytest.mark.parametrize("name", RANKING)
def test_a_list_weighs_what_its_rows_do_on_average(name):
    loss = RANKING[name][0]
    data = Ranked(GRADES["ragged"])  # of 2, 7, 3 and 4 rows
    logits = data.logits
    per_row = torch.tensor([1.0, 3, *[0] * 7, 4, 0, 2, *[2] * 4])
    kept = torch.cat([logits[:2], logits[9:]])
    without = Ranked([data.grades[0], *data.grades[2:]])
    value, gradient = differentiated(replace(data, weight=per_row).ours(loss), logits)
    for weight in (None, torch.full((9,), 2.0)):
        expected, _ = differentiated(replace(without, weight=weight).ours(loss), kept)
        torch.testing.assert_close(value, expected)
    assert not gradient[2:9].any()


@pytest.mark.parametrize("name", RANKING)
def test_a_list_of_weight_two_is_as_two_lists(name):
    loss = RANKING[name][0]
    once, twice = [[0, 1], [2, 0, 1]], [[0, 1], [2, 0, 1], [2, 0, 1]]
    logits = Ranked(once).logits
    weight = torch.tensor([1.0, 1, 2, 2, 2])
    value, _ = differentiated(Ranked(once, weight).ours(loss), logits)
    expected, _ = differentiated(Ranked(twice).ours(loss), torch.cat([logits, logits[2:]]))
    torch.testing.assert_close(value, expected)


def test_lists_without_weight():
    data = Ranked(GRADES["ragged"], torch.zeros(16))
    for ours, _ in RANKING.values():
        value, gradient = differentiated(data.ours(ours), data.logits)
        assert value.item() == 0
        assert not gradient.any()


# A loss and the columns of logits and target it is given, for what holds of those of rows
ROWS = {
    **{
        name: (ours, draw(n_columns, n_labels).unbind(1), TARGETS[target])
        for name, (ours, _, n_labels, n_columns, target) in SAME.items()
    },
    "multiple_negatives_ranking": (MultipleNegativesRankingLoss(), draw(5).unbind(1), None),
}


def of_rows(name, rows=slice(None), weight=None):
    ours, columns, target = ROWS[name]
    return ours(Batch([c[rows] for c in columns], None if target is None else target[rows], weight))


@pytest.mark.parametrize("name", ROWS)
def test_weights_of_rows(name):
    torch.testing.assert_close(of_rows(name, weight=torch.full((N_ROWS,), 3.0)), of_rows(name))
    weight = (torch.arange(N_ROWS) >= 3).float()
    torch.testing.assert_close(of_rows(name, weight=weight), of_rows(name, slice(3, None)))
    weight[0] = 5.0
    rows = [0] * 5 + list(range(3, N_ROWS))
    torch.testing.assert_close(of_rows(name, weight=weight), of_rows(name, rows))


@pytest.mark.parametrize("name", ROWS)
def test_one_row(name):
    assert torch.isfinite(of_rows(name, [4]))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_one_logit_is_the_second_of_two_classes(smoothing):
    loss = CrossEntropyLoss(label_smoothing=smoothing)
    logits, target = draw(1)[:, 0], TARGETS["binary"]
    of_two = torch.cat([torch.zeros_like(logits), logits], dim=1)
    expected = loss(Batch([of_two], target))
    torch.testing.assert_close(loss(Batch([logits], target)), expected)
    smooth = target * (1 - smoothing) + smoothing / 2
    same = F.binary_cross_entropy_with_logits(logits[:, 0], smooth)
    torch.testing.assert_close(expected, same)


def test_every_loss_is_compared():
    tried = {type(ours) for ours, *_ in [*SAME.values(), *RANKING.values()]}
    assert tried | {MultipleNegativesRankingLoss} == {*CROSS_ENCODER_LOSSES.losses.values()}


@pytest.mark.parametrize(
    "loss", [loss for loss in CROSS_ENCODER_LOSSES.losses if loss != "cross_entropy"]
)
def test_several_logits_are_an_error(loss):
    logits = draw(2, 3).unbind(1)
    batch = Batch(
        logits if loss in ("margin_mse", "multiple_negatives_ranking") else logits[:1],
        TARGETS["scores"],
        query_ids=torch.zeros(N_ROWS, dtype=torch.int64),
    )
    with pytest.raises(ValueError, match="requires a model with one logit, got 3"):
        CROSS_ENCODER_LOSSES.losses[loss]()(batch)


@pytest.mark.parametrize("name", CROSS_ENCODER_LOSSES.losses)
def test_losses_are_equal_by_their_parameters(name):
    loss = CROSS_ENCODER_LOSSES.losses[name]()
    assert loss == CROSS_ENCODER_LOSSES.losses[name]()
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert hash(loss) == hash(CROSS_ENCODER_LOSSES.losses[name]())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrossEntropyLoss(label_smoothing=1), "label_smoothing=1: pass a number from 0 to"),
        (lambda: CrossEntropyLoss(label_smoothing=-0.1), "label_smoothing=-0.1"),
        (lambda: CrossEntropyLoss(label_smoothing=float("nan")), "label_smoothing=nan"),
        (
            lambda: MultipleNegativesRankingLoss(n_negatives=-1),
            "n_negatives=-1: pass an int, 0 or more",
        ),
        (lambda: MultipleNegativesRankingLoss(n_negatives=2.0), "n_negatives=2.0: pass an int"),
        (lambda: MultipleNegativesRankingLoss(n_negatives=None), "n_negatives=None: pass an int"),
        (lambda: MultipleNegativesRankingLoss(scale=0), "scale=0: pass a number above 0"),
        (lambda: RankNetLoss(sigma=0), "sigma=0: pass a number above 0"),
        (lambda: RankNetLoss(k=0), "k=0: pass an int above 0, or None"),
        (lambda: LambdaLoss(k=2.5), "k=2.5: pass an int above 0, or None"),
        (lambda: LambdaLoss("ndcg"), r"weighting='ndcg': pass one of \['ndcg2\+\+', 'ndcg2', "),
        (lambda: LambdaLoss(mu=-1), "mu=-1: pass a number above 0"),
        (lambda: LambdaLoss(sigma=float("nan")), "sigma=nan"),
    ],
)
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()
