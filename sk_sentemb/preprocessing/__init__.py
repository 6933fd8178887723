"""Tables with text: which column is what, a transformer for all of them, and cleaning."""

from .cleaner import TextCleaner
from .multimodal import make_multimodal_transformer
from .parts import DateParts
from .reading import read_categories, read_numbers
from .roles import column_roles, describe_columns
from .selector import text_column_selector

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
