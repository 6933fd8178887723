"""Any X to columns: lists, arrays and data frames of texts or images."""

from .frames import (
    columns_of,
    is_missing,
    list_cells,
    make_sliceable,
    named_columns,
    read_cells,
    to_frame_or_sequence,
    validate_feature_names,
    validate_table,
)
from .images import ImageColumns, read_image_columns
from .text import (
    MISSING,
    TextColumns,
    UniqueTexts,
    make_pairs,
    read_text_columns,
    unique_texts,
    warn_truncated,
)
from .validation import check_no_missing, check_query_id, check_sample_weight

__all__ = [
    "MISSING",
    "ImageColumns",
    "TextColumns",
    "UniqueTexts",
    "check_no_missing",
    "check_query_id",
    "check_sample_weight",
    "columns_of",
    "is_missing",
    "list_cells",
    "make_pairs",
    "make_sliceable",
    "named_columns",
    "read_cells",
    "read_image_columns",
    "read_text_columns",
    "to_frame_or_sequence",
    "unique_texts",
    "validate_feature_names",
    "validate_table",
    "warn_truncated",
]
