"""ImageEmbedder: columns of images to columns of embeddings."""

import os
from collections.abc import Callable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._atomic_fit import atomic_fit
from .._base import EmbeddingOutputMixin, PretrainedModelMixin
from .._docstrings import substitute_docstring
from .._inputs import ImageColumns, read_image_columns, validate_feature_names
from .._parallel import count_workers
from .._progress import N_TASKS, fit_task, progress_reporter, with_callbacks
from .._warn import warn
from ..cache import (
    CHARACTERS_PER_TOKEN,
    Cache,
    DiskCache,
    MemoryCache,
    get_or_compute,
    namespace_for_params,
    open_cache,
)
from ..encoder import (
    IMAGE_POOLINGS,
    Embedded,
    ImageEncoder,
    load_image_encoder,
    new_folder,
    require_pillow,
    save_encoder,
)
from ..exceptions import CorruptImageWarning, InvalidRowError, MissingImageWarning
from .decoding import DIGEST_CHARACTERS, READING
from .unique_images import SkipCorruptCache, UniqueImages

# `get_or_compute` sizes its claims by the lengths of texts, which here are digests.
_TOKENS_PER_DIGEST = DIGEST_CHARACTERS // CHARACTERS_PER_TOKEN

# Pillow's own limit.
_MAX_PIXELS = 89_478_485


@substitute_docstring
class ImageEmbedder(EmbeddingOutputMixin, TransformerMixin, PretrainedModelMixin):
    """Embeddings of image columns, from a pretrained vision model.

    Each distinct image is embedded once, wherever its file is, and the embeddings are returned in the
    order of the rows. With a CLIP model, a :class:`~sk_sentemb.SentenceEmbedder` of the same ``model``
    embeds texts into the same space, for text-to-image search; both share one copy of the model.

    Parameters
    ----------
    model : str, path-like or ImageEncoder, default="sentence-transformers/clip-ViT-B-32"
        The pretrained model: CLIP, SigLIP, ViT, DINOv2 or another vision model.

        - str: a folder in the format of sentence-transformers or transformers, or else the name of a
          model on the Hugging Face Hub;
        - path-like: such a folder;
        - ``ImageEncoder``: a loaded model, which keeps its device and dtype.

    {revision}

    pooling : {"auto", "cls", "mean", "pooler"}, default="auto"
        Pooling mode that turns the embeddings of an image's patches into one image embedding. All modes
        but ``"auto"`` leave the space that a CLIP model shares with its texts.

        - ``"auto"``: the output that the model was trained for: the projected features of CLIP, the
          pooled ones of SigLIP, the CLS token of ViT and DINOv2; for checkpoints of
          sentence-transformers, the stored mode;
        - ``"cls"``: the CLS token;
        - ``"mean"``: the mean of all tokens;
        - ``"pooler"``: the pooling layer of the model.

    {normalize}

    {truncate_dim}

    missing : {"zero", "nan", "error"}, default="zero"
        How to handle missing values (None, NaN, ``pandas.NA``, null, blank strings).

        - ``"zero"``: a vector of zeros; a :class:`~sk_sentemb.exceptions.MissingImageWarning` reports
          the number of cells;
        - ``"nan"``: a vector of NaN;
        - ``"error"``: raise a ``ValueError``.

    corrupt : {"error", "missing"}, default="error"
        How to handle images that cannot be decoded, such as truncated or absent files.

        - ``"error"``: raise a :class:`~sk_sentemb.exceptions.CorruptImageError` that names the cell;
        - ``"missing"``: treat them as missing values; a
          :class:`~sk_sentemb.exceptions.CorruptImageWarning` reports the number of images.

    max_pixels : int, default=89478485
        Maximum number of pixels per image, checked in the header before decoding. Larger images are
        treated as corrupt. The default is Pillow's own limit.

    {dtype}

    {device}

    batch_size : int or "auto", default="auto"
        Maximum number of images per forward pass. ``"auto"`` uses a value suited to the device. Halved,
        with a warning, after an out-of-memory error.

    {cache}

    n_jobs : int, default=None
        Number of threads that decode images while the model runs. None means 1, unless in a
        ``joblib.parallel_config`` context.

    {store_weights_in_pickle}

    {verbose}

    Attributes
    ----------
    encoder_ : ImageEncoder
        The loaded model.

    embedding_dim_ : int
        Number of dimensions of the embedding of one image.

    fingerprint_ : str
        Hash of the model's weights and configuration.

    n_features_in_ : int
        Number of image columns seen in ``fit``.

    {feature_names_in_}

    See Also
    --------
    SentenceEmbedder : Embeddings of texts; with a CLIP model, in the same space.

    Notes
    -----
    The processor of the model, from transformers [1]_, resizes and scales the images. Before, images
    are rotated as their EXIF orientation says, transparent pixels are blended with white, and pixels
    are converted to RGB with 8 bits per color:

    - 16-bit integers are divided by 257;
    - floats from 0 to 1 are multiplied by 255, and floats up to 255 are rounded;
    - grayscale images of any other range are stretched from their lowest to their highest value.

    The first frame of an animation is used.

    References
    ----------
    .. [1] A. Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
       ICML 2021, https://arxiv.org/abs/2103.00020

    Examples
    --------
    A small model with random weights keeps the example fast; a real one is
    ``"sentence-transformers/clip-ViT-B-32"``.

    >>> from tempfile import TemporaryDirectory
    >>> from transformers import ViTConfig, ViTImageProcessor, ViTModel
    >>> sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    >>> model = ViTModel(ViTConfig(**sizes, intermediate_size=32, image_size=32, patch_size=8))
    >>> processor = ViTImageProcessor(size={"height": 32, "width": 32})

    >>> import numpy as np
    >>> from sk_sentemb import ImageEmbedder
    >>> red = np.full((40, 60, 3), [255, 0, 0], dtype=np.uint8)
    >>> stripes = np.tile(np.repeat(np.uint8([0, 255]), 5), (50, 5))
    >>> with TemporaryDirectory() as folder:
    ...     model.save_pretrained(folder)
    ...     saved = processor.save_pretrained(folder)
    ...     embeddings = ImageEmbedder(folder).fit_transform([red, stripes, red])
    >>> embeddings.shape, embeddings.dtype
    ((3, 16), dtype('float32'))
    >>> [bool((embeddings[0] == other).all()) for other in embeddings[1:]]
    [False, True]
    """

    _model_class = ImageEncoder

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **PretrainedModelMixin._parameter_constraints,
        "model": [str, os.PathLike, ImageEncoder],
        "pooling": [StrOptions({"auto", *IMAGE_POOLINGS})],
        "normalize": ["boolean", StrOptions({"auto"})],
        "truncate_dim": [Interval(Integral, 1, None, closed="left"), None],
        "missing": [StrOptions({"zero", "nan", "error"})],
        "corrupt": [StrOptions({"error", "missing"})],
        "max_pixels": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    }

    def __init__(
        self,
        model: str | os.PathLike[str] | ImageEncoder = "sentence-transformers/clip-ViT-B-32",
        *,
        revision: str | None = None,
        pooling: str = "auto",
        normalize: bool | str = "auto",
        truncate_dim: int | None = None,
        missing: str = "zero",
        corrupt: str = "error",
        max_pixels: int = _MAX_PIXELS,
        dtype: str = "float32",
        device: str | None = None,
        batch_size: int | str = "auto",
        cache: str | bool | os.PathLike[str] | MemoryCache | DiskCache | None = "memory",
        n_jobs: int | None = None,
        store_weights_in_pickle: bool = False,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.revision = revision
        self.pooling = pooling
        self.normalize = normalize
        self.truncate_dim = truncate_dim
        self.missing = missing
        self.corrupt = corrupt
        self.max_pixels = max_pixels
        self.dtype = dtype
        self.device = device
        self.batch_size = batch_size
        self.cache = cache
        self.n_jobs = n_jobs
        self.store_weights_in_pickle = store_weights_in_pickle
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    @atomic_fit
    @with_callbacks
    @substitute_docstring
    def fit(self, X: Any, y: Any = None) -> Self:
        """Load the model; no image is decoded.

        Parameters
        ----------
        {X_of_images}
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        ImageEmbedder
            The fitted embedder itself.
        """
        with fit_task(self, "fit", X, y):
            self._fit(X)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    @atomic_fit
    @with_callbacks
    @substitute_docstring
    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Fit to ``X`` and return its embeddings.

        Parameters
        ----------
        {X_of_images}
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        {embeddings}
        """
        with fit_task(self, "fit-transform", X, y, max_subtasks=N_TASKS) as context:
            return self._embed_columns(self._fit(X), context)

    @substitute_docstring
    def transform(self, X: Any) -> np.ndarray:
        """Embed ``X``.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples,) or (n_samples, n_columns)
            Images, in the same number of columns as in ``fit``. Zero rows are allowed.

        Returns
        -------
        {embeddings}

        Raises
        ------
        CorruptImageError
            If an image cannot be decoded and ``corrupt`` is ``"error"``.
        ValueError
            If the number of columns differs from that seen in ``fit``, or an image is missing and
            ``missing`` is ``"error"``.
        """
        check_is_fitted(self)
        return self._embed_columns(self._validate_input(X, reset=False))

    @substitute_docstring
    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Save the model in a folder that sentence-transformers and this class load.

        Pooling, normalization and ``truncate_dim`` are saved as they are set here. Of a CLIP model, both
        the image and the text encoder are saved, so that :class:`~sk_sentemb.SentenceEmbedder` loads the
        folder, too.

        Parameters
        ----------
        {folder}

        Raises
        ------
        {folder_errors}
        ValueError
            If the model is a CLIP model and ``pooling`` is not ``"auto"``.
        """
        check_is_fitted(self)
        kept = self.embedding_dim_ if self._is_truncated else None
        with new_folder(Path(folder).expanduser()) as fresh:
            save_encoder(self.encoder_.replace(truncate_dim=kept), fresh)

    def _fit(self, X: Any) -> ImageColumns:
        columns = self._validate_input(X, reset=True)
        if not columns.n_rows:
            raise ValueError(
                "Found array with 0 sample(s) while a minimum of 1 is required by fit."
            )
        require_pillow()
        encoder = self._load_encoder(load_image_encoder)
        self.encoder_ = encoder.with_pooling(pooling=self.pooling, normalize=self.normalize)
        self.fingerprint_ = encoder.fingerprint
        self._set_embedding_dim(self.encoder_)
        return columns

    def _validate_input(self, X: Any, *, reset: bool) -> ImageColumns:
        columns = read_image_columns(X)
        if reset:
            self._store_series_name(columns)
        validate_feature_names(self, X, columns.n_columns, reset=reset, is_1d=columns.is_1d)
        return columns

    def _embed_columns(self, columns: ImageColumns, context: Any = None) -> np.ndarray:
        """Embed validated columns, and warn of corrupt and missing images."""
        self._check_missing(columns)
        unique = UniqueImages(
            columns,
            max_pixels=self.max_pixels,
            count_resized_pixels=self.encoder_.pixels_after_resizing,
            n_threads=count_workers(self.n_jobs),
            # Where nothing may be missing, a corrupt image cannot be treated as missing.
            raise_corrupt="error" in (self.corrupt, self.missing),
        )
        encoded = self._encode(unique, context)  # cache -> threads that decode -> encoder
        embeddings = self._truncate(encoded.vectors)
        fill = np.nan if self.missing == "nan" else 0.0
        embeddings[encoded.truncated] = fill
        self._warn_corrupt(unique)
        self._warn_missing(columns)
        return unique.digests.expand(embeddings, fill=fill)

    def _check_missing(self, columns: ImageColumns) -> None:
        if self.missing == "error" and columns.missing.any():
            row, column = (int(i) for i in np.argwhere(columns.missing)[0])
            raise InvalidRowError(
                row,
                column,
                f"has no image ({columns.missing.sum()} in all). Fill them, or pass "
                "missing='zero' or 'nan'.",
            )

    def _encode(self, unique: UniqueImages, context: Any) -> Embedded:
        """Return the embeddings of unique images; those of corrupt images are marked."""
        encoder, cache = self.encoder_, open_cache(self.cache)
        digests: Sequence[Any] = unique.digests.texts

        def compute(some: Sequence[Any], on_progress: Callable[[int], None]) -> Embedded:
            embeddings = encoder.encode(
                some,
                read=unique.decode,
                batch_size=self.batch_size,
                n_threads=count_workers(self.n_jobs),
                on_progress=on_progress,
            )
            return Embedded(embeddings, np.isnan(embeddings).any(axis=1))

        progress = progress_reporter(
            self, len(digests), bar=self.verbose > 0, unit="image", context=context
        )
        with progress as report:
            if cache is None:
                return compute(digests, report)
            return get_or_compute(
                cast(Cache, SkipCorruptCache(cache)),
                namespace_for_params(encoder, encoder.encoding_params() | {"reading": READING}),
                digests,
                compute,
                tokens_per_pass=encoder.images_per_batch(self.batch_size) * _TOKENS_PER_DIGEST,
                on_progress=report,
            )

    def _warn_corrupt(self, unique: UniqueImages) -> None:
        if corrupt := unique.find_corrupt():
            row, column, reason = corrupt[0]
            warn(
                f"{len(corrupt)} of {unique.n_images} images cannot be decoded and became "
                f"{'zeros' if self.missing == 'zero' else 'NaN'}. The first is in "
                f"{unique.describe_cell(row, column)}: {reason}.",
                CorruptImageWarning,
            )

    def _warn_missing(self, columns: ImageColumns) -> None:
        n_missing = int(columns.missing.sum())
        if n_missing and self.missing == "zero":
            warn(
                f"{n_missing} of {columns.missing.size} cells have no image and became zeros. Fill "
                "them, or pass missing='nan' or 'error'.",
                MissingImageWarning,
            )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # A table of numbers does not hold images.
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.input_tags.allow_nan = self.missing != "error"
        tags.transformer_tags.preserves_dtype = []
        return tags
