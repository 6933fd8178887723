"""TextCleaner: text out of web pages, forms and files, made ready to embed."""

import re
import unicodedata
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from .._atomic_fit import atomic_fit
from .._inputs import TextColumns, list_cells, read_text_columns, validate_feature_names
from .markup import html_to_text
from .patterns import EMAIL, URL
from .text_output import TextOutputMixin

_URL = re.compile(rf"\b{URL}", re.IGNORECASE)
_EMAIL = re.compile(rf"(?<![\w.+-])(?:mailto:)?{EMAIL}", re.IGNORECASE)

# Control characters that are white space, such as form feeds, become spaces.
_CONTROL_SPACES = re.compile("[\x0b\x0c\x1c-\x1f\x85]")

# Others, marks of direction, soft hyphens and what has no width go. Joiners of letters stay: emoji,
# Persian and Indic scripts need them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
_HALF_A_PAIR = re.compile("[\ud800-\udfff]")

_WAYS = StrOptions({"keep", "mask", "remove"})


class TextCleaner(TextOutputMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Clean columns of text: HTML, white space, control characters, Unicode, addresses.

    The rows stay what and where they are, and a missing cell stays missing, so that the embedder behind
    decides about it.

    Parameters
    ----------
    html : bool, default=True
        Whether to take text out of HTML, where a cell has tags or character references. Scripts,
        styles and comments go where they have an end, blocks are set apart by white space. What is no
        tag of HTML stays: ``"a < b"``, ``"vector<int>"``, ``"if a<b>c"``, ``"the <style> tag"``; see
        Notes.

    control : bool, default=True
        Whether to remove control characters and others that nobody sees: soft hyphens, marks of
        direction, spaces without width. Line ends and tabs stay, joiners of letters too; half a
        surrogate pair becomes U+FFFD.

    unicode_form : {"NFC", "NFD", "NFKC", "NFKD"} or None, default="NFC"
        Normal form of Unicode; the ones with a K also replace ligatures, full-width letters and the
        like by plain ones. None for none.

    lowercase : bool, default=False
        Whether to make letters lower case. Most models read either.

    url : {"keep", "mask", "remove"}, default="keep"
        Whether addresses of web pages and files stay, become ``[URL]`` or go.

    email : {"keep", "mask", "remove"}, default="keep"
        Whether e-mail addresses stay, become ``[EMAIL]`` or go.

    whitespace : bool, default=True
        Whether runs of white space, line ends among them, become one space, and none is left at the
        ends.

    missing : {"keep", "empty"}, default="keep"
        Whether a missing cell stays None or becomes the empty text, which scikit-learn's vectorizers
        read.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns seen in ``fit``.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if ``X`` had string names for all of them.

    See Also
    --------
    sk_sentemb.SentenceEmbedder : Reads what comes out.

    Notes
    -----
    In this order: HTML, addresses, control characters, lower case, the normal form, white space. HTML is
    read once: of ``"&amp;lt;p&amp;gt;"``, ``"&lt;p&gt;"`` is left. References need their semicolon, so
    that addresses such as ``"?a=1&copy=2"`` stay intact.

    ``<b>``, ``<title>`` and others that are nothing but a name are words in brackets as well. They are
    read as tags in cells that also have an end tag, a tag with attributes, or one that needs no end,
    such as ``<br>``, ``<p>`` and ``<li>``; in other cells they stay. Comments, sections, scripts,
    styles, templates, titles and areas of text stay as they are where they have no end, and what
    follows them stays, too.

    Examples
    --------
    >>> from sk_sentemb import TextCleaner
    >>> texts = ["<p>Fish &amp; chips</p><p>for\xa0two:&nbsp;5 < 6</p>", None, "  See www.fish.uk!\n"]
    >>> TextCleaner(url="mask").fit_transform(texts)
    array(['Fish & chips for two: 5 < 6', None, 'See [URL]!'], dtype=object)
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "html": ["boolean"],
        "control": ["boolean"],
        "unicode_form": [StrOptions({"NFC", "NFD", "NFKC", "NFKD"}), None],
        "lowercase": ["boolean"],
        "url": [_WAYS],
        "email": [_WAYS],
        "whitespace": ["boolean"],
        "missing": [StrOptions({"keep", "empty"})],
    }

    def __init__(
        self,
        *,
        html: bool = True,
        control: bool = True,
        unicode_form: str | None = "NFC",
        lowercase: bool = False,
        url: str = "keep",
        email: str = "keep",
        whitespace: bool = True,
        missing: str = "keep",
    ) -> None:
        self.html = html
        self.control = control
        self.unicode_form = unicode_form
        self.lowercase = lowercase
        self.url = url
        self.email = email
        self.whitespace = whitespace
        self.missing = missing

    @_fit_context(prefer_skip_nested_validation=True)
    @atomic_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters and learn the columns' names.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples,) or (n_samples, n_columns)
            Texts.
        y : Ignored
            Not used.

        Returns
        -------
        TextCleaner
            The fitted transformer itself.
        """
        if not len(self._read(X, reset=True).missing):
            raise ValueError(
                "Found array with 0 sample(s) while a minimum of 1 is required by TextCleaner."
            )
        return self

    def transform(self, X: Any) -> Any:
        """Clean texts.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples,) or (n_samples, n_columns)
            Texts, in as many columns as in ``fit``. No rows are fine.

        Returns
        -------
        ndarray, DataFrame or Series of the shape of X
            A string for each cell, or None where it is missing. An array of objects, or what
            ``set_output`` asked for. One-dimensional for one-dimensional ``X``, as vectorizers and
            :class:`~sk_sentemb.SentenceEmbedder` read it; a Series keeps its name.

        Raises
        ------
        ValueError
            If the number of columns is another than in ``fit``.
        """
        check_is_fitted(self)
        columns = self._read(X, reset=False)
        cleaned = np.empty(columns.missing.shape, dtype=object)
        # Each text once.
        clean = {text: self._clean(text) for text in set().union(*columns.texts)}
        for j, texts in enumerate(columns.texts):
            cleaned[:, j] = [clean[text] for text in texts]
        if self.missing == "keep":
            cleaned[columns.missing] = None
        return self._to_container(cleaned, X, one_dimensional=_is_one_dimensional(X, columns))

    def _clean(self, text: str) -> str:
        if self.html:
            text = html_to_text(text)
        if self.url != "keep":
            text = _URL.sub("[URL]" if self.url == "mask" else " ", text)
        if self.email != "keep":
            text = _EMAIL.sub("[EMAIL]" if self.email == "mask" else " ", text)
        if self.control:
            text = _CONTROL_SPACES.sub(" ", text)
            text = _HALF_A_PAIR.sub("\ufffd", _INVISIBLE.sub("", text))
        if self.lowercase:
            text = text.lower()
        if self.unicode_form is not None:
            text = unicodedata.normalize(self.unicode_form, text)  # type: ignore[arg-type]
        return " ".join(text.split()) if self.whitespace else text

    def _read(self, X: Any, *, reset: bool) -> TextColumns:
        columns = read_text_columns(X)
        n_columns, one_dimensional = columns.missing.shape[1], _is_one_dimensional(X, columns)
        validate_feature_names(self, X, n_columns, reset=reset, one_dimensional=one_dimensional)
        return columns

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _is_one_dimensional(X: Any, columns: TextColumns) -> bool:
    if columns.missing.shape[1] > 1 or hasattr(X, "columns"):
        return False
    if hasattr(X, "ndim"):
        return X.ndim == 1
    cells = list_cells(X)
    return not (cells and isinstance(cells[0], (list, tuple, np.ndarray)))
