"""FineTuner: how an encoder is fine-tuned, as parameters that can be searched."""

import os
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from ..losses import CROSS_ENCODER_LOSSES, EMBEDDER_LOSSES, Loss
from .evaluation import METRICS, Metric
from .optimizer import SCHEDULES


class FineTuner(BaseEstimator):
    """How an encoder is fine-tuned: loss, optimiser, sampling, validation.

    A parameter object: it has no ``fit`` of its own. Pass it as ``fine_tuner`` of
    :class:`~sk_sentemb.SentenceEmbedder`; its parameters are searched there as
    ``embedder__fine_tuner__learning_rate`` and so on.

    Parameters
    ----------
    loss : str or Loss, default="auto"
        The loss to minimize:

        - ``"auto"``: the default loss for the format of ``X`` and ``y``;
        - a name, such as ``"cosent"``: that loss with its default parameters;
        - an object, such as ``CoSENTLoss(scale=10)`` or ``MatryoshkaLoss("auto", dims=(256, 64))``.

        Strings, booleans and integers in ``y`` are classes, one for each row of ``X``; floats are
        similarities of two columns or margins of three. If ``y`` can be interpreted in several ways,
        an explicit loss decides. :ref:`losses-of-embedders` lists the losses for each format.

    epochs : int or "auto", default="auto"
        The number of passes over the data. ``"auto"`` sets training up so that the result is not worse
        than the model before it:

        - An encoder is trained for some 500 steps, in one epoch at least and ten at most. The linear
          head of a :class:`~sk_sentemb.SentenceClassifier` or :class:`~sk_sentemb.SentenceRegressor`
          starts from the weights that are best for the embeddings before training (linear probing,
          then fine-tuning [3]_), and `interpolation` limits how far the weights go.
        - With ``trainable="head"``, a linear head gets its optimal weights, as by
          :class:`~sklearn.linear_model.LogisticRegression` or :class:`~sklearn.linear_model.Ridge`
          with a regularization between the default and the cross-validated one; other heads are
          trained for some 2,000 steps, in 200 epochs at most.

        A number trains for that many epochs, without any of this.

    max_steps : int, default=None
        The most steps, whatever ``epochs`` says.

    batch_size : int, default=32
        Rows whose loss is computed together.

    gradient_accumulation : int, default=1
        Batches that make one step.

    forward_batch_size : int, default=None
        Texts that go through the model at once; where it is less than a batch has, memory is that of
        so many texts, the loss still that of the whole batch (GradCache [1]_). It takes one forward
        pass more.

    learning_rate : float, default=5e-5
        Of AdamW, at its highest.

    head_learning_rate : float, default=1e-2
        The same for the classifier of the soft-max losses, which begins with random weights.

    warmup_ratio : float, default=0.1
        The part of the steps over which the learning rate rises.

    schedule : {"linear", "cosine", "constant_with_warmup"}, default="linear"
        How it falls after that.

    interpolation : float or "auto", default="auto"
        The weights that are kept lie on the line from those before training (0) to those after it (1)
        [4]_: closer to 0, less is learned from the rows and less is forgotten. ``"auto"`` is 1 if
        `epochs` is a number, the head has random weights before training, a cross-encoder is trained,
        or `y` holds the vectors of a teacher; else n / (n + 6) with n texts of each class on average,
        n / (n + 256) with n rows and another `y`, and n / (n + 1000) without `y`. Validation and
        callbacks see these weights.

    weight_decay : float, default=0.0
        Of AdamW; biases, normalisations and the vectors of tokens that do not occur are left alone.

    max_grad_norm : float, default=1.0
        Longer gradients are scaled to it.

    trainable : "all", "modules", "head" or int, default="all"
        What changes: all weights, those of what follows the transformer, or these and the
        transformer's last so many layers; or nothing but what the loss trains along, such as the head
        of a :class:`~sk_sentemb.SentenceClassifier`, for which each text is embedded once. The head of
        a cross-encoder is what follows its transformer: ``"modules"``.

    freeze_epochs : int, default=0
        For so many epochs, train nothing but what the loss trains along; then all that is
        ``trainable`` (linear probing, then fine-tuning [3]_).

    layer_decay : float, default=1.0
        Each layer has the learning rate of the one above it times this.

    train_embeddings : bool, default=True
        Whether the vectors of tokens change, where all weights do.

    lora_rank : int, default=None
        Train low-rank matrices of that rank beside the transformer's linear layers instead of their
        weights (LoRA [2]_); they are merged in the end. Needs ``sk-sentemb[lora]``.

    lora_alpha : float, default=None
        How much these count; None for twice the rank.

    lora_targets : str or list of str, default="all-linear"
        The names of the layers.

    dtype : {"float32", "bfloat16", "auto"}, default="float32"
        In which matrices are multiplied; weights are float32. ``"auto"`` for bfloat16 where the device
        runs it natively.

    gradient_checkpointing : bool, default=False
        Compute activations twice rather than keep them.

    sampling : {"auto", "shuffle", "grouped", "balanced"}, default="auto"
        How batches are drawn. ``"grouped"``: several texts of a class together, for losses that compare
        them; ``"balanced"``: so, and all classes equally often; ``"auto"``: grouped where the loss wants
        it, else shuffled. Where rows serve each other as negatives, no text is in a batch twice.

    class_weight : dict or "balanced", default=None
        How much each class counts, as elsewhere in scikit-learn.

    score_range : (float, float), default=None
        The similarities in ``y`` that mean "nothing in common" and "the same". None for the smallest
        and the largest, with a warning unless these are within 0 and 1.

    validation_fraction : float, default=None
        The fraction of the rows to validate on after each epoch instead of training on them. They are
        stratified by class, by 0 and 1, or by similarity; where the loss compares texts of a class,
        two of a class are held out together, and lists are held out whole, with and without
        different grades in proportion. If rows are compared with each other, at least six are held
        out, or half of them if there are fewer than twelve.

    validation_data : (X, y), default=None
        Other rows to validate on. ``(X, None)`` where there is no ``y``.

    metric : str or callable, default="auto"
        What is validated: ``"loss"``; ``"spearman"`` or ``"average_precision"`` of the cosine, or of a
        cross-encoder's logit; ``"ndcg"`` of the first ten of each list; a function
        ``metric(outputs_of_columns, y)``, of vectors or logits, of which more is better; or ``"auto"``:
        Spearman for similarities, average precision for 0 and 1, nDCG for lists, the loss otherwise.

    early_stopping : bool, default=False
        Stop when validation gets no better, and take the weights with the best one. Without
        validation data, a tenth of the rows is validated on. An epoch whose score is undefined, such
        as the correlation with a constant, counts neither as better nor as worse, and a warning says
        why; if no epoch has a score, training continues to its end and the last weights are kept.

    patience : int, default=2
        After how many epochs without improvement to stop.

    checkpoint_dir : str or path-like, default=None
        Where to keep the state of a training after each epoch; the same training, killed and begun
        again, goes on from there. Each combination of data, model and parameters, the code of functions
        included, has a folder of its own. A file that is damaged or of other versions is reported by
        a warning, and the training starts again.

    checkpoint_steps : int, default=None
        Keep it after so many steps, too.

    random_state : int, RandomState instance or None, default=None
        Decides on batches, dropout, new weights and the validation rows; an int makes fits on one
        processor bit-equal. Global generators are never touched.

    verbose : int, default=0
        Above 0, a progress bar on standard error.

    References
    ----------
    .. [1] L. Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
       RepL4NLP 2021, https://arxiv.org/abs/2101.06983
    .. [2] E. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022,
       https://arxiv.org/abs/2106.09685
    .. [3] A. Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform
       Out-of-Distribution", ICLR 2022, https://arxiv.org/abs/2202.10054
    .. [4] M. Wortsman et al., "Robust Fine-Tuning of Zero-Shot Models", CVPR 2022,
       https://arxiv.org/abs/2109.01903

    Examples
    --------
    >>> from sk_sentemb import FineTuner, SentenceEmbedder
    >>> X = ["My card is lost.", "My card was stolen.", "What is the rate?", "How much is a euro?"]
    >>> y = ["card", "card", "rate", "rate"]
    >>> embedder = SentenceEmbedder(fine_tuner=FineTuner(epochs=2, random_state=0))
    >>> embedder.fit(X, y).transform(X).shape
    (4, 384)
    >>> embedder.history_[["step", "epoch"]].values.tolist()
    [[1, 1], [2, 2]]
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "loss": [StrOptions({"auto", *EMBEDDER_LOSSES.losses, *CROSS_ENCODER_LOSSES.losses}), Loss],
        "epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "max_steps": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "gradient_accumulation": [Interval(Integral, 1, None, closed="left")],
        "forward_batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "head_learning_rate": [Interval(Real, 0, None, closed="neither")],
        "warmup_ratio": [Interval(Real, 0, 1, closed="both")],
        "schedule": [StrOptions(set(SCHEDULES))],
        "interpolation": [Interval(Real, 0, 1, closed="right"), StrOptions({"auto"})],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither")],
        "trainable": [
            StrOptions({"all", "modules", "head"}),
            Interval(Integral, 0, None, closed="left"),
        ],
        "freeze_epochs": [Interval(Integral, 0, None, closed="left")],
        "layer_decay": [Interval(Real, 0, 1, closed="right")],
        "train_embeddings": ["boolean"],
        "lora_rank": [Interval(Integral, 1, None, closed="left"), None],
        "lora_alpha": [Interval(Real, 0, None, closed="neither"), None],
        "lora_targets": [str, list, tuple],
        "dtype": [StrOptions({"float32", "bfloat16", "auto"})],
        "gradient_checkpointing": ["boolean"],
        "sampling": [StrOptions({"auto", "shuffle", "grouped", "balanced"})],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "score_range": [tuple, list, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "validation_data": [tuple, list, None],
        "metric": [StrOptions(set(METRICS)), callable],
        "early_stopping": ["boolean"],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "checkpoint_dir": [str, HasMethods("__fspath__"), None],
        "checkpoint_steps": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        loss: str | Loss = "auto",
        *,
        epochs: int | str = "auto",
        max_steps: int | None = None,
        batch_size: int = 32,
        gradient_accumulation: int = 1,
        forward_batch_size: int | None = None,
        learning_rate: float = 5e-5,
        head_learning_rate: float = 1e-2,
        warmup_ratio: float = 0.1,
        schedule: str = "linear",
        interpolation: float | str = "auto",
        weight_decay: float = 0.0,
        max_grad_norm: float = 1.0,
        trainable: str | int = "all",
        freeze_epochs: int = 0,
        layer_decay: float = 1.0,
        train_embeddings: bool = True,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        lora_targets: str | Sequence[str] = "all-linear",
        dtype: str = "float32",
        gradient_checkpointing: bool = False,
        sampling: str = "auto",
        class_weight: dict | str | None = None,
        score_range: tuple[float, float] | None = None,
        validation_fraction: float | None = None,
        validation_data: tuple[Any, Any] | None = None,
        metric: str | Metric = "auto",
        early_stopping: bool = False,
        patience: int = 2,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        checkpoint_steps: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.loss = loss
        self.epochs = epochs
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.gradient_accumulation = gradient_accumulation
        self.forward_batch_size = forward_batch_size
        self.learning_rate = learning_rate
        self.head_learning_rate = head_learning_rate
        self.warmup_ratio = warmup_ratio
        self.schedule = schedule
        self.interpolation = interpolation
        self.weight_decay = weight_decay
        self.max_grad_norm = max_grad_norm
        self.trainable = trainable
        self.freeze_epochs = freeze_epochs
        self.layer_decay = layer_decay
        self.train_embeddings = train_embeddings
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha
        self.lora_targets = lora_targets
        self.dtype = dtype
        self.gradient_checkpointing = gradient_checkpointing
        self.sampling = sampling
        self.class_weight = class_weight
        self.score_range = score_range
        self.validation_fraction = validation_fraction
        self.validation_data = validation_data
        self.metric = metric
        self.early_stopping = early_stopping
        self.patience = patience
        self.checkpoint_dir = checkpoint_dir
        self.checkpoint_steps = checkpoint_steps
        self.random_state = random_state
        self.verbose = verbose
