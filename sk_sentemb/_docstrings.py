"""Descriptions of the parameters that several estimators share, each written once."""

import re
from inspect import cleandoc
from textwrap import indent
from typing import Any, TypeVar

T = TypeVar("T")

# Name of a placeholder -> what stands for it: whole entries of "Parameters" and "Attributes", or the
# text below a type that the estimator states itself.
SHARED: dict[str, str] = {
    "model_of_texts": """
        The pretrained model.

        - str: a folder in the format of sentence-transformers or transformers, or else the name of a
          model on the Hugging Face Hub;
        - path-like: such a folder;
        - :class:`~sk_sentemb.Encoder`: a loaded model, which keeps its device and dtype.
        """,
    "model_of_pairs": """
        The pretrained model: a cross-encoder of sentence-transformers or a sequence classifier of
        transformers. With a ``fine_tuner``, any transformer: if it has no suitable head, a new one is
        initialized, with a :class:`~sk_sentemb.exceptions.NewHeadWarning`.

        - str: a folder in one of these formats, or else the name of a model on the Hugging Face Hub;
        - path-like: such a folder;
        - :class:`~sk_sentemb.Encoder`: a loaded model, which keeps its device and dtype.
        """,
    "revision": """
        revision : str, default=None
            Branch, tag or commit of the model on the Hugging Face Hub.
        """,
    "normalize": """
        normalize : bool or "auto", default="auto"
            Whether to L2-normalize the embeddings. ``"auto"`` follows the checkpoint.
        """,
    "truncate_dim": """
        truncate_dim : int, default=None
            Truncate embeddings to this many dimensions (Matryoshka models); embeddings of unit norm are
            normalized again. If None, use the checkpoint's setting, usually no truncation.
        """,
    "prompt": """
        prompt : str, default=None
            Prompt prepended to every text, exactly as given, such as ``"query: "``. ``""`` disables
            prompting.
        """,
    "prompt_of_pairs": """
        prompt : str, default=None
            Prompt prepended to the first text of every pair, exactly as given, such as ``"query: "``.
            ``""`` disables prompting.
        """,
    "prompt_name": """
        prompt_name : str, default=None
            Name of a prompt stored in the checkpoint, such as ``"query"``. Only one of ``prompt`` and
            ``prompt_name`` can be set. If both are None, the checkpoint's default prompt is used, if it
            has one.
        """,
    "max_length": """
        max_length : int, default=None
            Maximum number of tokens per text, including special tokens. If None, the checkpoint's token
            limit.
        """,
    "max_length_of_pairs": """
        max_length : int, default=None
            Maximum number of tokens per pair, including special tokens. If None, the checkpoint's token
            limit.
        """,
    "long_text": """
        long_text : {"truncate", "chunk", "error"}, default="truncate"
            How to handle texts that exceed the token limit.

            - ``"truncate"``: drop the tokens beyond the limit; a
              :class:`~sk_sentemb.exceptions.TruncationWarning` reports the number of texts;
            - ``"chunk"``: embed overlapping windows and average their embeddings, weighted by the number
              of tokens;
            - ``"error"``: raise a ``ValueError``.
        """,
    "long_text_of_pairs": """
        long_text : {"truncate", "error"}, default="truncate"
            How to handle pairs that exceed the token limit.

            - ``"truncate"``: drop tokens from the end of the longer text; a
              :class:`~sk_sentemb.exceptions.TruncationWarning` reports the number of pairs;
            - ``"error"``: raise a ``ValueError``.
        """,
    "dtype": """
        dtype : {"float32", "bfloat16", "float16", "auto"}, default="float32"
            Data type in which the model runs; outputs are always float32. ``"auto"`` selects the fastest
            one that the device supports natively.
        """,
    "device": """
        device : str, default=None
            Device on which the model runs, such as ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``. If
            None, use the fastest available device.
        """,
    "batch_tokens": """
        batch_tokens : int or "auto", default="auto"
            Maximum number of tokens per forward pass. ``"auto"`` uses a value suited to the device.
            Halved, with a warning, after an out-of-memory error.
        """,
    "cache": """
        cache : "memory", bool, str, path-like, MemoryCache, DiskCache or None, default="memory"
            Where the outputs of the model are kept, so that each distinct input is computed once across
            folds, candidates and calls. See :mod:`sk_sentemb.cache`.

            - ``"memory"``: an in-memory cache that all estimators of the process share;
            - True: also a persistent cache, in the default folder, that processes and sessions share;
            - str or path-like: also a persistent cache, in this folder;
            - :class:`~sk_sentemb.cache.MemoryCache` or :class:`~sk_sentemb.cache.DiskCache`: this cache;
            - None or False: no cache.
        """,
    "n_jobs": """
        n_jobs : int, default=None
            Number of joblib workers that run the model. None means 1, unless in a
            ``joblib.parallel_config`` context, which also selects where they run. A single process
            already uses all cores, so values above 1 mainly help on a cluster.
        """,
    "warm_start": """
        warm_start : bool, default=False
            When True, reuse the weights of the previous call to ``fit`` as initialization; otherwise,
            start from those of ``model``. Only used with a ``fine_tuner``.
        """,
    "store_weights_in_pickle": """
        store_weights_in_pickle : bool, default=False
            Whether pickles store the weights of the model. If False, they store a reference: the name
            and the fingerprint, which is verified on load. Fine-tuned weights are always stored.
        """,
    "verbose": """
        verbose : int, default=0
            If positive, show a progress bar on standard error.
        """,
    "encoder_": """
        encoder_ : Encoder
            The loaded or fine-tuned model.
        """,
    "fingerprint_": """
        fingerprint_ : str
            Hash of the model's weights, tokenizer and configuration.
        """,
    "history_": """
        history_ : DataFrame
            The course of training, only with a ``fine_tuner``: one row per step with the columns
            ``step``, ``epoch``, ``learning_rate``, ``loss``, ``seconds``, ``tokens_per_second`` and, at
            the end of each epoch, the validation metric.
        """,
    "feature_names_in_": """
        feature_names_in_ : ndarray of shape (`n_features_in_`,)
            Names of the columns seen in ``fit``. Only defined if all names in ``X`` are strings.
        """,
    "columns_of_other_roles": """
        categorical : str, list of str or callable, default=None
            The columns of categories, as for `text`.

        numeric : str, list of str or callable, default=None
            The columns of numbers, as for `text`.

        date : str, list of str or callable, default=None
            The columns of dates, as for `text`.

        image : str, list of str or callable, default=None
            The columns of images, as for `text`.

        roles : mapping of str to str, default=None
            Roles of single columns, which override the rules:
            ``{"zip": "categorical", "remarks": "other"}``.
        """,
    "X_of_texts": """
        X : array-like or data frame of shape (n_samples,) or (n_samples, n_columns)
            Texts, in a list, tuple or NumPy array, or in a pandas, polars or pyarrow series or data
            frame. With a ``fine_tuner``, ``fit`` also takes columns of pairs or triplets.
        """,
    "X_of_images": """
        X : array-like or data frame of shape (n_samples,) or (n_samples, n_columns)
            Images: paths, encoded files as bytes, images of Pillow, or arrays of shape (height, width),
            (height, width, 3) or (height, width, 4).
        """,
    "y_of_texts": """
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Targets for fine-tuning: classes as strings, booleans or integers, other targets as floats.
            Ignored if ``fine_tuner`` is None.
        """,
    "sample_weight": """
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in fine-tuning. If None, all rows have the same weight.
        """,
    "embeddings": """
        ndarray of shape (n_samples, n_columns * `embedding_dim_`), float32
            The embeddings; those of several columns are concatenated.
        """,
    "X_of_pairs": """
        X : array-like or data frame of shape (n_samples, 2)
            Text pairs, in a list of (first, second), a NumPy array, or a pandas, polars or pyarrow data
            frame.
        """,
    "X_of_rows": """
        X : array-like or data frame of shape (n_samples,) or (n_samples, n_columns)
            Texts, or a data frame with at least one text column.
        """,
    "symmetric": """
        symmetric : bool, default=False
            Whether to average the logits over both orders of the two texts; doubles the cost.
        """,
    "feature_names_in_of_pairs": """
        n_features_in_ : int
            Number of columns seen in ``fit``: 2.

        feature_names_in_ : ndarray of shape (2,)
            Names of the columns seen in ``fit``. Only defined if both names in ``X`` are strings.
        """,
    "head_and_fusion": """
        hidden_layer_sizes : sequence of int, default=()
            Widths of the hidden layers of the head. If empty, the head is linear.

        activation : {"relu", "gelu", "tanh", "identity"}, default="relu"
            Activation function after each hidden layer.

        dropout : float, default=0.1
            Dropout rate before each layer of the head.

        head : callable, default=None
            Custom head: takes the numbers of inputs and outputs, and returns a ``torch.nn.Module`` that
            maps (n_rows, n_inputs) to (n_rows, n_outputs). If None, the head is built from
            ``hidden_layer_sizes``, ``activation`` and ``dropout``, which a custom head ignores with an
            :class:`~sk_sentemb.exceptions.IgnoredParameterWarning`.

        fusion : {"concat", "gated", "attention"}, default="concat"
            How to fuse the parts of a row, which are the embedding of each text column, the table of the
            other columns, and the embedding of each image column.

            - ``"concat"``: concatenation;
            - ``"gated"``: gated multimodal units, a weighted sum with weights that depend on all parts
              [1]_;
            - ``"attention"``: attention pooling with a learned query.
        """,
    "columns": """
        text : str, list of str or "auto", default="auto"
            Text columns of a data frame. ``"auto"`` selects those that
            :func:`~sk_sentemb.preprocessing.column_roles` finds, or the only column. If ``X`` is not a
            data frame, all its columns are texts.

        categorical : str, list of str or "auto", default="auto"
            Categorical columns of a data frame, like ``text``.

        numeric : str, list of str or "auto", default="auto"
            Numeric columns of a data frame, like ``text``.

        date : str, list of str or "auto", default="auto"
            Date columns of a data frame, like ``text``.

        image : str, list of str or "auto", default="auto"
            Image columns of a data frame, like ``text``.

        image_embedder : ImageEmbedder, default=None
            Transformer that embeds the images; it is not trained. If None, an
            :class:`~sk_sentemb.ImageEmbedder` with default parameters.
        """,
    "long_text_of_rows": """
        long_text : {"truncate", "chunk", "error"}, default="truncate"
            How to handle texts that exceed the token limit.

            - ``"truncate"``: drop the tokens beyond the limit; a
              :class:`~sk_sentemb.exceptions.TruncationWarning` reports the number of texts;
            - ``"chunk"``: predict from overlapping windows, whose embeddings are averaged; train on the
              first window;
            - ``"error"``: raise a ``ValueError``.
        """,
    "missing_of_rows": """
        missing : {"empty", "error"}, default="empty"
            How to handle missing texts (None, NaN, ``pandas.NA``, null).

            - ``"empty"``: read them as the empty string, and add a missing indicator for columns with
              missing values in ``fit``;
            - ``"error"``: raise a ``ValueError``.
        """,
    "fine_tuner_of_rows": """
        fine_tuner : FineTuner, default=None
            How to train the encoder and the head. If None, ``FineTuner()``. With
            ``FineTuner(trainable="head")``, the encoder is frozen, each text is embedded once, and the
            weights of a linear head are solved for, in which case ``dropout`` has no effect.
        """,
    "warm_start_of_rows": """
        warm_start : bool, default=False
            When True, reuse the weights of the previous call to ``fit`` as initialization; otherwise,
            start from those of ``model``.
        """,
    "attributes_of_rows": """
        encoder_ : Encoder
            The trained encoder.

        embedder_ : SentenceEmbedder
            A fitted embedder with the trained encoder, for other pipelines.

        head_ : torch.nn.Module
            The trained head, including the fusion.

        history_ : DataFrame
            The course of training: one row per step with the columns ``step``, ``epoch``,
            ``learning_rate``, ``loss``, ``seconds``, ``tokens_per_second`` and, at the end of each
            epoch, the validation metric. With a linear head over a frozen encoder, there is one step.

        n_features_in_ : int
            Number of columns seen in ``fit``.
        """,
    "map_style": """
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure is created.

        labels : {"auto", "legend"} or None, default="auto"
            How to name the classes.

            - ``"auto"``: on the map, next to the points; classes whose label does not fit are in a
              legend, with a number on the map if their color is not unique;
            - ``"legend"``: all of them in a legend;
            - None: not at all.

        target_type : {"auto", "continuous", "multiclass"}, default="auto"
            How to read ``y``.

            - ``"continuous"``: numbers, shown by a color bar;
            - ``"multiclass"``: classes, each of one color;
            - ``"auto"``: ``"continuous"`` if all values are numbers and either not all of them are
              integers or more than 100 are different, else ``"multiclass"``.

        multiclass_colors : list of colors or str, default=None
            Colors of the classes, the largest class first, or the name of a matplotlib colormap. If
            there are more classes than colors, colors repeat, far from each other. If None, ten colors
            that color-blind readers can mostly distinguish.

        **kwargs : dict
            Keyword arguments passed to matplotlib's ``scatter``. By default, the size and the opacity
            of the points depend on their number.
        """,
    "map_parameters": """
        y : array-like of shape (n_rows,), default=None
            Class or number of each row, which determines its color. Rows with a missing value are gray.

        reducer : {"pca", "tsne"}, transformer or None, default="pca"
            How to reduce embeddings to two dimensions.

            - ``"pca"``: principal components; fast, but clusters overlap;
            - ``"tsne"``: t-SNE of 50 principal components, which separates clusters; distances between
              them mean little;
            - transformer: the ``fit_transform`` of a clone, such as ``umap.UMAP()``;
            - None: the embeddings have two dimensions.

        random_state : int, RandomState instance or None, default=None
            Seed of ``"pca"`` and ``"tsne"``.
        """,
    "matrix_style": """
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure is created.

        order : {"clustered"} or None, default="clustered"
            Order of the rows and columns.

            - ``"clustered"``: the leaves of a hierarchical clustering with average linkage, ordered so
              that neighbors are similar; with ``y``, first the classes and then the rows of each;
            - None: the order of the rows.

        text_length : int, default=40
            Number of characters to which texts and classes are shortened.

        values : bool or "auto", default="auto"
            Whether to print the values into the cells. ``"auto"`` does so for at most 12 rows.

        colorbar : bool, default=True
            Whether to draw a color bar.

        **kwargs : dict
            Keyword arguments passed to matplotlib's ``imshow``. By default, the colors cover the
            similarities of different rows: all values for at most 12 rows, else the central 99%.
        """,
    "retrieval_curves": """
        metric : str, default="recall"
            Metric without its cutoff: ``"ndcg"``, ``"map"``, ``"mrr"``, ``"recall"``, ``"precision"`` or
            ``"hit_rate"``.

        k : sequence of int, default=None
            Numbers of documents. If None, those of 1, 2, 3, 5, 10, 20, 50 and 100 that the rankings
            reach.

        name : str, default=None
            Name of the curve, if there is one retriever.

        confidence_level : float, default=0.95
            Level of the intervals, between 0 and 1.

        n_resamples : int, default=2000
            Number of bootstrap samples of the queries.

        random_state : int, RandomState instance or None, default=None
            Controls the bootstrap samples, which are the same for all retrievers if it is not None.

        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure is created.

        **kwargs : dict
            Keyword arguments passed to matplotlib's ``plot`` for all curves.
        """,
    "folder": """
        folder : str or path-like
            A new folder, or one with a checkpoint, whose files are replaced. Files that no earlier call
            wrote are kept, such as a README.
        """,
    "y_true_of_rankings": """
        y_true : list of n_queries judgments, or sparse matrix of shape (n_queries, n_documents)
            The judgments of each query.

            - list or array of ids: the relevant documents;
            - one id: the only relevant document;
            - dict: the grade of each document by id. Those with a grade above 0 are relevant;
            - a row of a sparse matrix: the grade of each document by position.
        """,
    "y_pred_of_rankings": """
        y_pred : list of n_queries rankings, or DataFrame
            The ranking of each query.

            - list or array of ids: documents, the best first;
            - dict: the score of each document by id. Equal scores keep their order;
            - the data frame of ``search``, with the columns ``query``, ``rank`` and ``id``.
        """,
    "k_of_rankings": """
        k : int, default=10
            Number of documents that count, from the first.
        """,
    "average_of_rankings": """
        average : bool, default=True
            Whether to return the mean over the queries, or the value of each query. A query without
            relevant documents has NaN, and is left out of the mean with an ``UndefinedMetricWarning``.
        """,
    "value_of_rankings": """
        float, or ndarray of shape (n_queries,), float64
            The mean between 0 and 1, or the value of each query.
        """,
    "u_of_translations": """
        u : array-like of shape (n_u, n_features)
            Embeddings of texts in one language. They need not have unit norm.
        """,
    "n_neighbors_of_translations": """
        n_neighbors : int, default=4
            Number of nearest neighbors on the other side that a pair is compared with. If there are
            fewer rows, all of them.
        """,
    "values_of_margin": """
        How the cosine similarity of a pair is compared with the mean of those between each of the two
        rows and its nearest neighbors on the other side.

        - ``"ratio"``: divided by the mean. It is about 1 for rows that are no translations, and higher
          for translations;
        - ``"distance"``: minus the mean;
        - ``"absolute"``: not at all; the score is the cosine similarity.
        """,
    "notes_of_margins": """
        Some texts are similar to many texts, and others to none, not even to their translations; a
        margin corrects for both [1]_. A mean below 0.001 counts as 0.001 in a ratio, so that its sign is
        that of the cosine similarity.
        """,
    "reference_of_margins": """
        .. [1] M. Artetxe and H. Schwenk, "Margin-based parallel corpus mining with multilingual sentence
           embeddings", ACL 2019, https://arxiv.org/abs/1811.01136
        """,
    "folder_errors": """
        FileExistsError
            If the folder holds something other than a checkpoint, or files of another program that
            would be read as a part of the saved model.
        """,
}

_PLACEHOLDER = re.compile(r"^( *)\{(\w+)\}$", re.MULTILINE)


def substitute_docstring(target: T) -> T:
    """Replace each line ``{name}`` in the docstring of a class or function by the shared description."""
    documented: Any = target
    if documented.__doc__ is not None:  # None under python -OO
        documented.__doc__ = _PLACEHOLDER.sub(
            lambda line: indent(cleandoc(SHARED[line[2]]), line[1]), documented.__doc__
        )
    return target
