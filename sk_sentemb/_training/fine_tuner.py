"""FineTuner: the parameters of fine-tuning, which a search can vary."""

import os
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from ..losses import CROSS_ENCODER_LOSSES, EMBEDDER_LOSSES, Loss

SCHEDULES = ("linear", "cosine", "constant_with_warmup")
METRICS = ("auto", "loss", "spearman", "average_precision", "ndcg")

# (the outputs of each column, y) -> a score, the higher the better
Metric = Callable[[list[np.ndarray], np.ndarray | None], float]


class FineTuner(BaseEstimator):
    """Parameters of fine-tuning: loss, optimizer, batch sampling, validation, checkpoints.

    FineTuner has no ``fit`` of its own. Pass it as ``fine_tuner`` to
    :class:`~sk_sentemb.SentenceEmbedder`, a cross-encoder, :class:`~sk_sentemb.SentenceClassifier` or
    :class:`~sk_sentemb.SentenceRegressor`. Its parameters can be searched as nested parameters, such as
    ``embedder__fine_tuner__learning_rate``.

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
        Number of passes over the data:

        - ``"auto"``: enough for about 500 steps, between 1 and 10, with safeguards so that the result
          is not worse than the pretrained model. The linear head of a
          :class:`~sk_sentemb.SentenceClassifier` or :class:`~sk_sentemb.SentenceRegressor` starts from
          the weights that are optimal for the embeddings before training (linear probing, then
          fine-tuning [3]_), and `interpolation` limits the change of the weights. With
          ``trainable="head"``, a linear head gets its optimal weights, as by
          :class:`~sklearn.linear_model.LogisticRegression` or :class:`~sklearn.linear_model.Ridge`
          with a regularization between the default and the cross-validated one; other heads are
          trained for about 2,000 steps, in at most 200 epochs.
        - int: this number of epochs, without these safeguards.

    max_steps : int, default=None
        Maximum number of optimizer steps; takes precedence over ``epochs``.

    batch_size : int, default=32
        Number of rows in a batch, over which the loss is computed.

    gradient_accumulation : int, default=1
        Number of batches over which gradients are accumulated before an optimizer step.

    forward_batch_size : int, default=None
        Maximum number of texts in a forward pass (``mini_batch_size`` in sentence-transformers). If it
        is smaller than a batch, it alone determines the memory, while the loss is still that of the
        whole batch (GradCache [1]_), at the cost of an additional forward pass.

    learning_rate : float, default=5e-5
        Peak learning rate of AdamW.

    head_learning_rate : float, default=1e-2
        Peak learning rate of the head that is trained along with the encoder, such as the classifier of
        :class:`~sk_sentemb.losses.SoftmaxLoss`, which starts from random weights.

    warmup_ratio : float, default=0.1
        Fraction of steps used for linear warm-up.

    schedule : {"linear", "cosine", "constant_with_warmup"}, default="linear"
        Learning-rate schedule after warm-up.

    interpolation : float or "auto", default="auto"
        Interpolation between the weights before training (0) and after it (1) [4]_. Values closer to 0
        adapt less to the training data and forget less. Validation and callbacks see the interpolated
        weights. ``"auto"`` is

        - 1 if `epochs` is a number, the head has random weights before training, a cross-encoder is
          trained, or `y` has the embeddings of a teacher;
        - otherwise n / (n + 6), with n texts of each class on average, if `y` has classes;
        - otherwise n / (n + 256), with n rows, if there is a `y`, and n / (n + 1000) if there is none.

    weight_decay : float, default=0.0
        Weight decay of AdamW, which excludes biases, normalizations, and the embeddings of tokens that
        do not occur.

    max_grad_norm : float, default=1.0
        Maximum gradient norm, for gradient clipping.

    trainable : "all", "modules", "head" or int, default="all"
        The weights that are updated:

        - ``"all"``: all weights;
        - ``"modules"``: the modules after the transformer, which include the head of a cross-encoder;
        - int n: these and the last n layers of the transformer;
        - ``"head"``: only the head that is trained along with the encoder, such as that of a
          :class:`~sk_sentemb.SentenceClassifier`. Each text is embedded once.

    freeze_epochs : int, default=0
        Number of epochs in which only the head is trained, before the weights that ``trainable`` selects
        are (linear probing, then fine-tuning [3]_).

    layer_decay : float, default=1.0
        Layer-wise learning-rate decay: each layer has the learning rate of the layer above it times
        this factor.

    train_embeddings : bool, default=True
        Whether to update the token embeddings, with ``trainable="all"``.

    lora_rank : int, default=None
        Rank of low-rank adapters (LoRA [2]_), which are trained instead of the weights of the linear
        layers, and merged after training. Requires ``sk-sentemb[lora]``. If None, no adapters are used.

    lora_alpha : float, default=None
        LoRA scaling factor alpha. If None, ``2 * lora_rank``.

    lora_targets : str or list of str, default="all-linear"
        Names of the modules to adapt (``target_modules`` in peft).

    dtype : {"float32", "bfloat16", "auto"}, default="float32"
        Autocast dtype for mixed precision; master weights stay float32. ``"auto"`` selects bfloat16 on
        devices that support it natively.

    gradient_checkpointing : bool, default=False
        Recompute activations during the backward pass to save memory.

    sampling : {"auto", "shuffle", "grouped", "balanced"}, default="auto"
        How batches are drawn:

        - ``"shuffle"``: at random;
        - ``"grouped"``: several texts of a class together, for losses that compare them;
        - ``"balanced"``: like ``"grouped"``, and classes are resampled to equal frequency;
        - ``"auto"``: ``"grouped"`` if the loss requires it, otherwise ``"shuffle"``.

        If other rows of a batch serve as negatives, no text occurs twice in a batch.

    class_weight : dict or "balanced", default=None
        Weights of the classes, as in scikit-learn's classifiers.

    score_range : (float, float), default=None
        The lowest and the highest possible similarity in ``y``, which are scaled to 0 and 1. If None,
        the minimum and the maximum of ``y``, with a warning unless both are between 0 and 1.

    validation_fraction : float, default=None
        Fraction of the training rows held out for validation after each epoch. The split is stratified
        by class or by similarity. If the loss compares texts of a class, pairs of texts of a class are
        held out together; ranked lists are held out as a whole, stratified by whether they have
        different grades. If rows are compared with each other, at least six are held out, or half of
        them if there are fewer than twelve.

    validation_data : (X, y), default=None
        Rows for validation. Pass ``(X, None)`` if there is no ``y``.

    metric : str or callable, default="auto"
        The validation metric:

        - ``"loss"``: the loss;
        - ``"spearman"`` or ``"average_precision"``: of the cosine similarity, or of the logit of a
          cross-encoder;
        - ``"ndcg"``: nDCG at 10, averaged over ranked lists;
        - a function ``metric(outputs_of_columns, y)``, which gets the embeddings or logits of each
          column and returns a score, the higher the better;
        - ``"auto"``: ``"spearman"`` for similarities, ``"average_precision"`` for 0 and 1, ``"ndcg"``
          for ranked lists, otherwise ``"loss"``.

    early_stopping : bool, default=False
        Stop when the validation metric stops improving, and restore the best weights. Without
        validation data, 10 percent of the rows are held out. An epoch with an undefined score, such as
        the correlation with a constant, counts neither as better nor as worse, and a warning gives the
        reason. If no epoch has a score, the last weights are kept.

    patience : int, default=2
        Number of epochs without improvement after which training stops.

    checkpoint_dir : str or path-like, default=None
        Directory in which the state of training is saved after each epoch. If the same training is
        interrupted and started again, it resumes from there. Each combination of data, model and
        parameters, including the code of functions, has its own folder. Checkpoints that are damaged or
        saved with other versions are reported by a warning, and training starts again.

    checkpoint_steps : int, default=None
        Number of steps after which the state is saved in addition.

    random_state : int, RandomState instance or None, default=None
        Controls batch order, dropout, weight initialization and the validation split. Pass an int for
        results that are bit-identical on one machine. Global random generators are not used.

    verbose : int, default=0
        If above 0, show a progress bar on standard error.

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
