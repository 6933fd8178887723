"""ImageEmbedder: columns of images in, columns of numbers out."""

import os
from collections.abc import Callable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    _check_feature_names_in,
    check_is_fitted,
)

from .._atomic_fit import atomic_fit
from .._docstrings import substitute_docstring
from .._inputs import ImageColumns, read_image_columns, validate_feature_names
from .._parallel import count_workers
from .._pretrained import PretrainedModelMixin, with_callbacks
from .._progress import N_TASKS, progress_reporter
from .._warn import warn
from ..cache import (
    CHARACTERS_PER_TOKEN,
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
    image_encoder_from_state,
    image_encoder_to_state,
    l2_normalize,
    load_image_encoder,
    new_folder,
    require_pillow,
    write_image_encoder,
)
from ..exceptions import CorruptImageWarning, MissingImageWarning
from .decoding import DIGEST_CHARACTERS, READING
from .unique_images import SkipCorruptCache, UniqueImages

# `get_or_compute` cuts its turns by the lengths of texts.
_TOKENS = DIGEST_CHARACTERS // CHARACTERS_PER_TOKEN

# What Pillow itself takes for harmless.
_MAX_PIXELS = 89_478_485


@substitute_docstring
class ImageEmbedder(TransformerMixin, PretrainedModelMixin):
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

    _model_noun = ImageEncoder
    _encoder_to_state = staticmethod(image_encoder_to_state)
    _encoder_from_state = staticmethod(image_encoder_from_state)

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "model": [str, os.PathLike, ImageEncoder],
        "revision": [str, None],
        "pooling": [StrOptions({"auto", *IMAGE_POOLINGS})],
        "normalize": ["boolean", StrOptions({"auto"})],
        "truncate_dim": [Interval(Integral, 1, None, closed="left"), None],
        "missing": [StrOptions({"zero", "nan", "error"})],
        "corrupt": [StrOptions({"error", "missing"})],
        "max_pixels": [Interval(Integral, 1, None, closed="left")],
        "dtype": [StrOptions({"float32", "bfloat16", "float16", "auto"})],
        "device": [str, None],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "cache": [str, os.PathLike, "boolean", MemoryCache, DiskCache, None],
        "n_jobs": [Integral, None],
        "store_weights_in_pickle": ["boolean"],
        "verbose": ["verbose"],
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
        with self._progress_task("fit", X, y):
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
        with self._progress_task("fit-transform", X, y, max_subtasks=N_TASKS) as context:
            return self._embed(self._fit(X), context)

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
        return self._embed(self._validate_input(X, reset=False))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the output columns: ``<column>_0``, ``<column>_1`` and so on.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the input columns. If None, those seen in ``fit``, or ``x0``, ``x1`` and so on.

        Returns
        -------
        ndarray of shape (n_columns * `embedding_dim_`,), object
            One name per output column.
        """
        check_is_fitted(self)
        if input_features is None and self._series_name is not None:
            input_features = [self._series_name]
        names = _check_feature_names_in(self, input_features)
        dims = range(self.embedding_dim_)
        return np.array([f"{name}_{i}" for name in names for i in dims], dtype=object)

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
        kept = self.embedding_dim_ if self._truncates else None
        with new_folder(Path(folder).expanduser()) as fresh:
            write_image_encoder(self.encoder_.replace(truncate_dim=kept), fresh)

    def _fit(self, X: Any) -> ImageColumns:
        columns = self._validate_input(X, reset=True)
        if not columns.n_rows:
            raise ValueError(
                "Found array with 0 sample(s) while a minimum of 1 is required by fit."
            )
        require_pillow()
        encoder = self._load().with_pooling(pooling=self.pooling, normalize=self.normalize)
        if self.truncate_dim is not None and self.truncate_dim > encoder.embedding_dim:
            raise ValueError(
                f"truncate_dim={self.truncate_dim}, but the model gives {encoder.embedding_dim} "
                "dimensions; pass that many or fewer."
            )
        self.encoder_ = encoder
        self.fingerprint_ = encoder.fingerprint
        kept = encoder.truncate_dim if self.truncate_dim is None else self.truncate_dim
        self.embedding_dim_ = int(min(kept or encoder.embedding_dim, encoder.embedding_dim))
        return columns

    def _load(self) -> ImageEncoder:
        return self._load_encoder(load_image_encoder)

    def _validate_input(self, X: Any, *, reset: bool) -> ImageColumns:
        columns = read_image_columns(X)
        n_columns = columns.n_columns
        one_dimensional = (
            n_columns == 1 and not hasattr(X, "columns") and getattr(X, "ndim", 1) != 2
        )
        if reset:
            self._series_name = columns.names[0] if columns.names and one_dimensional else None
        validate_feature_names(self, X, n_columns, reset=reset, one_dimensional=one_dimensional)
        return columns

    @property
    def _truncates(self) -> bool:
        return self.embedding_dim_ < self.encoder_.embedding_dim

    def _embed(self, columns: ImageColumns, context: Any = None) -> np.ndarray:
        if self.missing == "error" and columns.missing.any():
            row, column = np.argwhere(columns.missing)[0]
            raise ValueError(
                f"row {row}, column {column} of X has no image ({columns.missing.sum()} cells have "
                "none). Fill them, or pass missing='zero' or 'nan'."
            )
        contents = UniqueImages(
            columns,
            max_pixels=self.max_pixels,
            resized=self.encoder_.pixels_after_resizing,
            n_threads=count_workers(self.n_jobs),
            # Where nothing may be missing, nothing can be taken as missing.
            refuse="error" in (self.corrupt, self.missing),
        )
        vectors, is_corrupt = self._encode(contents, context)
        if self._truncates:
            vectors = vectors[:, : self.embedding_dim_]
            vectors = l2_normalize(vectors) if self.encoder_.normalizes else vectors.copy()
        fill = np.nan if self.missing == "nan" else 0.0
        vectors[is_corrupt] = fill
        self._warn(contents)
        return contents.distinct.expand(vectors, fill=fill)

    def _encode(self, contents: UniqueImages, context: Any) -> Embedded:
        """Embed the distinct images that the cache does not know; marked are those that are damaged."""
        digests: Sequence[Any] = contents.distinct.texts
        encoder, cache = self.encoder_, open_cache(self.cache)

        def embed(some: Sequence[Any], on_progress: Callable[[int], None]) -> Embedded:
            vectors = encoder.encode(
                some,
                read=contents.image,
                batch_size=self.batch_size,
                n_threads=count_workers(self.n_jobs),
                on_progress=on_progress,
            )
            return Embedded(vectors, np.isnan(vectors).any(axis=1))

        shown = progress_reporter(
            self, len(digests), bar=self.verbose > 0, unit="image", context=context
        )
        with shown as report:
            if cache is None:
                return embed(digests, report)
            return get_or_compute(
                SkipCorruptCache(cache),
                namespace_for_params(encoder, encoder.encoding_params() | {"reading": READING}),
                digests,
                embed,
                tokens_per_pass=encoder.images_per_batch(self.batch_size) * _TOKENS,
                on_progress=report,
            )

    def _warn(self, contents: UniqueImages) -> None:
        """Say how many cells became zeros, and which could not be read."""
        became = "zeros" if self.missing == "zero" else "NaN"
        if corrupt := contents.corrupt:
            row, column, reason = corrupt[0]
            warn(
                f"{len(corrupt)} of {contents.n_images} images cannot be read and became {became}. The "
                f"first is in {contents.place(row, column)}: {reason}.",
                CorruptImageWarning,
            )
        n_missing = int(contents.columns.missing.sum())
        if n_missing and self.missing == "zero":
            warn(
                f"{n_missing} of {contents.columns.missing.size} cells have no image and became zeros. "
                "Fill them, or pass missing='nan' or 'error'.",
                MissingImageWarning,
            )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # Tables of numbers are no images.
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.input_tags.allow_nan = self.missing != "error"
        tags.transformer_tags.preserves_dtype = []
        return tags
