"""The losses by name, and the default loss of each data format."""

from dataclasses import dataclass

from .base import DataFormat, Loss
from .batch_triplet import BatchHardTripletLoss, BatchSemiHardTripletLoss
from .contrastive import ContrastiveLoss, OnlineContrastiveLoss
from .cosine_pairs import CosinePairsLoss
from .cross_encoder import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    LambdaLoss,
    ListNetLoss,
    RankNetLoss,
)
from .cross_encoder import MSELoss as PairMSELoss
from .cross_encoder import MultipleNegativesRankingLoss as PairRankingLoss
from .gist_embed import GISTEmbedLoss
from .margin_mse import MarginMSELoss
from .mse import MSELoss
from .multiple_negatives import MultipleNegativesRankingLoss, SimCSELoss
from .similarity import AnglELoss, CoSENTLoss, CosineSimilarityLoss
from .softmax import SoftmaxLoss
from .supervised_contrastive import SupervisedContrastiveLoss
from .triplet import TripletLoss

# With few classes, different classes can have orthogonal embeddings; with many, some are similar.
_FEW_CLASSES = 8


@dataclass(frozen=True, eq=False)
class LossRegistry:
    """The losses for a type of model."""

    estimators: str
    losses: dict[str, type[Loss]]
    defaults: dict[DataFormat, str]

    def __contains__(self, loss: str | Loss) -> bool:
        if isinstance(loss, str):
            return loss in self.losses
        return type(loss) in self.losses.values()

    def names(self, data_format: DataFormat | None = None) -> list[str]:
        """Return the names of the losses that support a format, or of all losses."""
        return [
            name
            for name, loss in self.losses.items()
            if data_format is None or data_format in loss.formats
        ]

    def resolve(
        self, loss: str | Loss, data_format: DataFormat | None = None, n_classes: int | None = None
    ) -> Loss:
        """Return the loss for a value of the parameter `loss`, checked against the data format."""
        other = CROSS_ENCODER_LOSSES if self is EMBEDDER_LOSSES else EMBEDDER_LOSSES
        alternatives = f"Pass 'auto', a Loss of your own, or one of {self.names(data_format)}."
        if self is CROSS_ENCODER_LOSSES and isinstance(loss, Loss) and loss.requires_embeddings:
            raise ValueError(
                f"loss={loss!r}: {type(loss).__name__} requires embeddings; cross-encoders output "
                f"logits. {alternatives}"
            )
        if loss in other and loss not in self:
            name = f"loss={loss!r}"
            if isinstance(loss, Loss):
                name += f", {_import_name(loss)},"
            raise ValueError(
                f"{name} is for {other.estimators}, not for {self.estimators}. {alternatives}"
            )
        if loss == "auto" and data_format is not None:
            loss = self._default(data_format, n_classes)
        if isinstance(loss, str):
            if loss not in self.losses:
                raise ValueError(f"loss={loss!r}: pass 'auto', a Loss, or one of {self.names()}.")
            loss = self.losses[loss]()
        if data_format is None:
            return loss
        if data_format not in loss.formats:
            raise ValueError(
                f"loss={loss} does not support {data_format.description}, the format of X and y. Pass "
                f"'auto' or one of {self.names(data_format)}."
            )
        return loss.for_format(data_format)

    def _default(self, data_format: DataFormat, n_classes: int | None) -> str:
        if data_format not in self.defaults:
            raise ValueError(f"No loss of {self.estimators} supports {data_format.description}.")
        if data_format == DataFormat.LABELS and n_classes is not None and n_classes <= _FEW_CLASSES:
            return "cosine_pairs"
        return self.defaults[data_format]


EMBEDDER_LOSSES = LossRegistry(
    "SentenceEmbedder",
    {
        "supervised_contrastive": SupervisedContrastiveLoss,
        "batch_hard_triplet": BatchHardTripletLoss,
        "batch_semi_hard_triplet": BatchSemiHardTripletLoss,
        "cosine_pairs": CosinePairsLoss,
        "softmax": SoftmaxLoss,
        "cosent": CoSENTLoss,
        "angle": AnglELoss,
        "cosine_similarity": CosineSimilarityLoss,
        "online_contrastive": OnlineContrastiveLoss,
        "contrastive": ContrastiveLoss,
        "multiple_negatives_ranking": MultipleNegativesRankingLoss,
        "gist_embed": GISTEmbedLoss,
        "triplet": TripletLoss,
        "margin_mse": MarginMSELoss,
        "simcse": SimCSELoss,
        "mse": MSELoss,
    },
    {
        DataFormat.LABELS: "supervised_contrastive",
        DataFormat.SCORES: "cosent",
        DataFormat.BINARY: "online_contrastive",
        DataFormat.PAIR_LABELS: "softmax",
        DataFormat.PAIRS: "multiple_negatives_ranking",
        DataFormat.TRIPLETS: "multiple_negatives_ranking",
        DataFormat.MARGINS: "margin_mse",
        DataFormat.TEXTS: "simcse",
        DataFormat.EMBEDDINGS: "mse",
    },
)

CROSS_ENCODER_LOSSES = LossRegistry(
    "CrossEncoderScorer and CrossEncoderClassifier",
    {
        "binary_cross_entropy": BinaryCrossEntropyLoss,
        "mse": PairMSELoss,
        "cross_entropy": CrossEntropyLoss,
        "multiple_negatives_ranking": PairRankingLoss,
        "margin_mse": MarginMSELoss,
        "lambda": LambdaLoss,
        "ranknet": RankNetLoss,
        "listnet": ListNetLoss,
    },
    {
        DataFormat.SCORES: "binary_cross_entropy",
        DataFormat.BINARY: "binary_cross_entropy",
        DataFormat.PAIR_LABELS: "cross_entropy",
        DataFormat.PAIRS: "multiple_negatives_ranking",
        DataFormat.TRIPLETS: "multiple_negatives_ranking",
        DataFormat.MARGINS: "margin_mse",
        DataFormat.LISTS: "lambda",
    },
)


def _import_name(loss: Loss) -> str:
    """Return the name that a loss is imported by, which tells losses of the same class name apart."""
    package, _, _ = type(loss).__module__.rpartition(".")
    return f"{package}.{type(loss).__name__}"
