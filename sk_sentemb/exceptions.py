"""The errors and warnings of the package, to catch or filter by name.

This module imports nothing, so that a warning filter in a test suite's configuration loads neither
torch nor transformers.
"""

__all__ = [
    "AmbiguousTargetWarning",
    "CacheWarning",
    "CheckpointError",
    "CheckpointWarning",
    "ColumnRoleWarning",
    "CorruptImageError",
    "CorruptImageWarning",
    "CorruptShardWarning",
    "DeviceWarning",
    "FewNegativesWarning",
    "FineTuningWarning",
    "IgnoredParameterWarning",
    "IndexFileError",
    "IndexWarning",
    "InvalidRowError",
    "MissingImageWarning",
    "MissingTextWarning",
    "ModelChangedError",
    "ModelNotFoundError",
    "NewHeadWarning",
    "NoHeadError",
    "PromptWarning",
    "ReducedComponentsWarning",
    "SentenceEmbeddingError",
    "SentenceEmbeddingWarning",
    "TextTooLongError",
    "TruncationWarning",
    "UnreadableCellWarning",
]


class SentenceEmbeddingError(Exception):
    """Base class of the errors that this package defines."""


class SentenceEmbeddingWarning(UserWarning):
    """Base class of the warnings that this package defines."""


class CheckpointError(SentenceEmbeddingError, ValueError):
    """A file of a checkpoint is missing, damaged or in a format that is not supported."""


class NoHeadError(CheckpointError):
    """A checkpoint has no classification head, which scoring pairs requires."""


class ModelNotFoundError(SentenceEmbeddingError, OSError):
    """The model was not found; the message lists the locations that were searched."""


class ModelChangedError(SentenceEmbeddingError, ValueError):
    """A model name leads to other weights than those that were fitted or pickled."""


class IndexFileError(SentenceEmbeddingError, ValueError):
    """A file of a saved index is missing, damaged or in a format that is not supported."""


class TextTooLongError(SentenceEmbeddingError, ValueError):
    """A text exceeds the token limit and ``long_text="error"``.

    Attributes
    ----------
    position : int
        The position of the text among those that were encoded.
    max_length : int
        The token limit.
    """

    def __init__(self, position: int, max_length: int) -> None:
        # The arguments as they are, so that a worker process can send the error back.
        super().__init__(position, max_length)
        self.position = position
        self.max_length = max_length

    def __str__(self) -> str:
        return f"text {self.position} is longer than {self.max_length} tokens"


class InvalidRowError(SentenceEmbeddingError, ValueError):
    """A row of X has a missing value or too many tokens, and the parameters ask for an error.

    Attributes
    ----------
    row : int
        The position of the row in X, counting from 0.
    column : int
        The position of the column, counting from 0.
    problem : str
        What is wrong with the cell, and what to do.
    """

    def __init__(self, row: int, column: int, problem: str, where: str | None = None) -> None:
        super().__init__(row, column, problem, where)
        self.row = row
        self.column = column
        self.problem = problem
        self.where = where or f"row {row}, column {column} of X"

    def __str__(self) -> str:
        return f"{self.where} {self.problem}"


class CorruptImageError(SentenceEmbeddingError, ValueError):
    """An image cannot be decoded."""


class AmbiguousTargetWarning(SentenceEmbeddingWarning):
    """The target can be understood in two ways; the message says how to choose one."""


class CacheWarning(SentenceEmbeddingWarning):
    """A cache is too small, damaged, full or read-only; the results are still correct."""


class CheckpointWarning(SentenceEmbeddingWarning):
    """A checkpoint loads, but a part of it seems to be missing or is not used."""


class ColumnRoleWarning(SentenceEmbeddingWarning):
    """Columns of a table are left out, or used otherwise than their cells suggest."""


class CorruptImageWarning(SentenceEmbeddingWarning):
    """Images that cannot be decoded are treated as missing."""


class CorruptShardWarning(SentenceEmbeddingWarning):
    """Finished shards of an embedded dataset are damaged and are embedded again."""


class DeviceWarning(SentenceEmbeddingWarning):
    """A device is not available; another one is used."""


class FewNegativesWarning(SentenceEmbeddingWarning):
    """Fewer hard negatives were found than requested."""


class FineTuningWarning(SentenceEmbeddingWarning):
    """Training stopped early, or did not use all of the data."""


class IgnoredParameterWarning(SentenceEmbeddingWarning):
    """A parameter has no effect in combination with the others."""


class IndexWarning(SentenceEmbeddingWarning):
    """An index misses many nearest neighbors, or is slower than it could be."""


class MissingImageWarning(SentenceEmbeddingWarning):
    """Missing images are embedded as zeros."""


class MissingTextWarning(SentenceEmbeddingWarning):
    """Missing texts are embedded as zeros, or left out of training."""


class NewHeadWarning(SentenceEmbeddingWarning):
    """The classification head of a model is newly initialized."""


class PromptWarning(SentenceEmbeddingWarning):
    """A literal prompt looks like the name of one, or runs into the text."""


class ReducedComponentsWarning(SentenceEmbeddingWarning):
    """Fewer components were kept than requested."""


class TruncationWarning(SentenceEmbeddingWarning):
    """Texts exceed the token limit and were truncated."""


class UnreadableCellWarning(SentenceEmbeddingWarning):
    """Cells that cannot be parsed are treated as missing."""
