"""TODO."""

from .containers import list_cells, make_sliceable
from .feature_names import check_features
from .frames import columns_of, is_missing, named_columns, validate_table
from .images import ImageColumns, read_image_columns
from .text import TextColumns, read_argument, read_cells, read_text_columns
from .unique import NO_TEXT, DistinctTexts, distinct_texts, pair_columns
from .validation import check_no_missing, check_query_id, check_sample_weight

__all__ = [
    "NO_TEXT",
    "DistinctTexts",
    "ImageColumns",
    "TextColumns",
    "check_features",
    "check_no_missing",
    "check_query_id",
    "check_sample_weight",
    "columns_of",
    "distinct_texts",
    "is_missing",
    "list_cells",
    "make_sliceable",
    "named_columns",
    "pair_columns",
    "read_argument",
    "read_cells",
    "read_image_columns",
    "read_text_columns",
    "validate_table",
]
