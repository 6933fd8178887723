"""TextCleaner: clean text of web pages, forms and files before it is embedded."""

import re
import unicodedata
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from .._atomic_fit import atomic_fit
from .._docstrings import substitute_docstring
from .._inputs import TextColumns, read_text_columns, validate_feature_names
from .html import html_to_text
from .patterns import EMAIL, URL
from .text_output import TextOutputMixin

_URL = re.compile(rf"\b{URL}", re.IGNORECASE)
_EMAIL = re.compile(rf"(?<![\w.+-])(?:mailto:)?{EMAIL}", re.IGNORECASE)

# Control characters that separate words, such as form feeds.
_CONTROL_SPACES = re.compile("[\x0b\x0c\x1c-\x1f\x85]")

# Other control characters, direction marks, soft hyphens and zero-width characters. Not joiners of
# letters, which emoji, Persian and Indic scripts need.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")

_POLICIES = StrOptions({"keep", "mask", "remove"})


@substitute_docstring
class TextCleaner(TextOutputMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Clean columns of text: HTML, white space, control characters, Unicode, addresses.

    Rows keep their order, and a missing value remains missing, so that the estimator that follows
    decides how to handle it.

    Parameters
    ----------
    html : bool, default=True
        Whether to extract the text of HTML.

        - If True, cells with tags or character references are parsed. Scripts, styles and comments
          are removed, and blocks are separated by white space. Text that is not HTML is unchanged:
          ``"a < b"``, ``"vector<int>"``, ``"if a<b>c"``, ``"the <style> tag"``; see Notes.
        - If False, tags and character references are unchanged.

    control : bool, default=True
        Whether to remove control characters and other invisible characters: soft hyphens, direction
        marks, zero-width spaces. Line breaks, tabs and joiners of letters are kept; unpaired
        surrogates become U+FFFD.

    unicode_form : {"NFC", "NFD", "NFKC", "NFKD"} or None, default="NFC"
        Unicode normalization form. NFKC and NFKD also replace ligatures, full-width letters and other
        compatibility characters. If None, the text is not normalized.

    lowercase : bool, default=False
        Whether to convert the text to lowercase. Most models accept both cases.

    url : {"keep", "mask", "remove"}, default="keep"
        How to handle URLs.

        - ``"keep"``: leave them unchanged.
        - ``"mask"``: replace them by ``[URL]``.
        - ``"remove"``: remove them.

    email : {"keep", "mask", "remove"}, default="keep"
        How to handle e-mail addresses: as `url`, with the mask ``[EMAIL]``.

    whitespace : bool, default=True
        Whether to replace each run of white space, including line breaks, by one space, and to strip
        both ends.

    missing : {"keep", "empty"}, default="keep"
        How to handle missing values (None, NaN, pandas.NA).

        - ``"keep"``: return None.
        - ``"empty"``: return the empty string, which scikit-learn's vectorizers accept.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns seen in ``fit``.

    {feature_names_in_}

    See Also
    --------
    SentenceEmbedder : Embed the cleaned text.

    Notes
    -----
    The steps run in this order: HTML, addresses, control characters, lowercase, Unicode normalization,
    white space. HTML is parsed once: ``"&amp;lt;p&amp;gt;"`` becomes ``"&lt;p&gt;"``. Character
    references require their semicolon, so that URLs such as ``"?a=1&copy=2"`` are unchanged.

    Python's HTML parser runs in time proportional to the length of the text, however deeply tags are
    nested. A text is HTML if it contains an end tag, a tag with a value of an attribute, a comment or a
    tag that rarely occurs elsewhere, such as ``<br>``, ``<p>`` and ``<li>``. In HTML, tags that are
    not part of HTML are unchanged, such as ``<name>``, and so is everything that has no end: comments,
    scripts, styles, templates, titles and text areas.

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
        "url": [_POLICIES],
        "email": [_POLICIES],
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
        """Validate the parameters and store the number and names of the columns.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples,) or (n_samples, n_columns)
            Texts.
        y : Ignored
            Not used.

        Returns
        -------
        TextCleaner
            The fitted transformer.
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
            Texts, with as many columns as in ``fit``. ``n_samples`` may be 0.

        Returns
        -------
        ndarray, DataFrame or Series of the shape of X
            A string for each cell, or None for a missing value: an array of dtype object, or the
            container set by ``set_output``. One-dimensional if ``X`` is, as vectorizers and
            :class:`~sk_sentemb.SentenceEmbedder` expect; a Series keeps its name.

        Raises
        ------
        ValueError
            If the number of columns differs from that seen in ``fit``.
        """
        check_is_fitted(self)
        columns = self._read(X, reset=False)
        cleaned = np.empty(columns.missing.shape, dtype=object)
        clean = {text: self._clean(text) for text in set().union(*columns.texts)}
        for j, texts in enumerate(columns.texts):
            cleaned[:, j] = [clean[text] for text in texts]
        if self.missing == "keep":
            cleaned[columns.missing] = None
        return self._to_container(cleaned, X, is_1d=columns.is_1d)

    def _clean(self, text: str) -> str:
        if self.html:
            text = html_to_text(text)
        if self.url != "keep":
            text = _URL.sub("[URL]" if self.url == "mask" else " ", text)
        if self.email != "keep":
            text = _EMAIL.sub("[EMAIL]" if self.email == "mask" else " ", text)
        if self.control:
            text = _CONTROL_SPACES.sub(" ", text)
            text = _SURROGATE.sub("\ufffd", _INVISIBLE.sub("", text))
        if self.lowercase:
            text = text.lower()
        if self.unicode_form is not None:
            text = unicodedata.normalize(self.unicode_form, text)  # type: ignore[arg-type]
        return " ".join(text.split()) if self.whitespace else text

    def _read(self, X: Any, *, reset: bool) -> TextColumns:
        columns = read_text_columns(X)
        validate_feature_names(self, X, columns.n_columns, reset=reset, is_1d=columns.is_1d)
        return columns

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags
