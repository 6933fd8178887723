"""Tables with text: roles of columns, a transformer for all columns, and text cleaning."""

from .column_roles import column_roles, describe_columns
from .date_features import DateEncoder
from .multimodal import make_multimodal_transformer
from .parsing import parse_categories, parse_numbers
from .selector import text_column_selector
from .text_cleaner import TextCleaner

__all__ = [
    "DateEncoder",
    "TextCleaner",
    "column_roles",
    "describe_columns",
    "make_multimodal_transformer",
    "parse_categories",
    "parse_numbers",
    "text_column_selector",
]
