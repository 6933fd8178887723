"""Tables with text: which column is what, a transformer for all of them, and cleaning."""

from .column_roles import column_roles, describe_columns
from .date_features import DateParts
from .multimodal import make_multimodal_transformer
from .parsing import read_categories, read_numbers
from .selector import text_column_selector
from .text_cleaner import TextCleaner

__all__ = [
    "DateParts",
    "TextCleaner",
    "column_roles",
    "describe_columns",
    "make_multimodal_transformer",
    "read_categories",
    "read_numbers",
    "text_column_selector",
]
