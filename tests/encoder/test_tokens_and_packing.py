import re
from itertools import chain

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE, Unigram, WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from sk_sentemb.encoder.packing.packs import make_packs
from sk_sentemb.encoder.tokenization.tokenizer import (
    TextTokenizer,
    _split_into_windows,
    make_text_tokenizer,
)
from sk_sentemb.exceptions import TextTooLongError
from tests.helpers.checkpoints import make_tokenizer

# WordPiece, Unigram with and without a normaliser, byte-level BPE; special tokens around and after.
KINDS = ["bert", "mpnet", "xlm-roberta", "t5", "roberta", "qwen3"]

WORDS = st.sampled_from(
    ["the", "harbour", "ferries", "1987", "naïve", "ﬁsh", "[SEP]", "</s>", "?!"]
)
ODD = st.sampled_from(
    [
        "",
        " ",
        "\n\t",
        "\0",
        "\ufeff",
        "\u200d",
        "👩‍👩‍👧",
        "🙂",
        "שלום",
        "مرحبا",
        "e\u0301\u0323",
        "\ufffd",
    ]
)
TEXT = st.one_of(st.text(), st.lists(WORDS | ODD | st.text(max_size=3)).map(" ".join))
UNIT = WORDS | st.text(min_size=1, max_size=6) | TEXT.filter(bool).map(lambda text: text[:40] + " ")
SURROGATES = st.text(st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF), min_size=1)


@pytest.fixture(scope="module", params=KINDS)
def both(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(request.param, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return tokenizer, make_text_tokenizer(AutoTokenizer.from_pretrained(folder), lowercase=False)


def tokenize(tokenizer, texts, *, prompt="", max_length=None, long_text="truncate"):
    return tokenizer(texts, prompt=prompt, max_length=max_length, long_text=long_text)


def assert_same_tokens(both, text, max_length=None, prompt=""):
    reference, tokenizer = both
    expected = reference(prompt + text)["input_ids"]
    is_long = max_length is not None and len(expected) > max_length
    if is_long:
        expected = reference(prompt + text, truncation=True, max_length=max_length)["input_ids"]
    found = tokenize(tokenizer, [text], prompt=prompt, max_length=max_length)
    assert found.ids.tolist() == expected
    assert found.lengths.tolist() == [len(expected)]
    assert found.truncated.tolist() == [is_long]


@given(text=TEXT, max_length=st.none() | st.integers(3, 40))
def test_tokens_are_those_of_transformers(both, text, max_length):
    assert_same_tokens(both, text, max_length)


@settings(max_examples=40)
@given(begin=TEXT, unit=UNIT, n=st.integers(200, 3000), max_length=st.integers(3, 40))
@example(begin="a" * 100_000, unit="harbour", n=20_000, max_length=16)
@example(begin="x " + "🙂" * 20_000, unit=" the ferry passed the pier", n=9, max_length=16)
@example(begin=" " * 20_000, unit="the ferry passed the pier ", n=9, max_length=8)
def test_first_tokens_of_long_texts_are_those_of_transformers(both, begin, unit, n, max_length):
    # Unigram splits a word into the pieces with the best sum: in a word of equal parts without end,
    # sums are equal, and its far end decides.
    is_unigram = isinstance(both[0].backend_tokenizer.model, Unigram)
    assert_same_tokens(both, begin + (f"{unit} " if is_unigram else unit) * n, max_length)


@settings(max_examples=40)
@given(text=TEXT, prompt=st.sampled_from(["query: ", "the", "東京 "]))
def test_tokens_after_a_prompt_are_those_of_transformers(both, text, prompt):
    assert_same_tokens(both, text, 24, prompt)


@settings(max_examples=40)
@given(parts=st.lists(st.text(max_size=5) | SURROGATES))
@example(parts=["\ud83d", "\ude42"])
@example(parts=["\ude42\ud83d"])
def test_half_a_surrogate_pair_is_the_replacement_character(both, parts):
    text = "".join(parts)
    whole = re.sub(
        "[\ud800-\udbff][\udc00-\udfff]",
        lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"),
        text,
    )
    whole = re.sub("[\ud800-\udfff]", "\ufffd", whole)
    _, tokenizer = both
    found = tokenize(tokenizer, ["the pier", text])
    assert found.ids.tolist() == tokenize(tokenizer, ["the pier", whole]).ids.tolist()


def test_texts_of_a_call_do_not_change_each_other(both):
    _, tokenizer = both
    texts = ["the ferry", "", "the ferry passed the pier " * 99, "\ud83d", "🙂"]
    found = tokenize(tokenizer, texts, max_length=12)
    alone = [tokenize(tokenizer, [text], max_length=12) for text in texts]
    assert found.ids.tolist() == np.concatenate([one.ids for one in alone]).tolist()
    assert found.text_of.tolist() == [0, 1, 2, 3, 4]
    order = np.array([4, 2, 0])
    expected = np.concatenate([alone[row].ids for row in order])
    assert found.select(order)[0].tolist() == expected.tolist()


def test_prompt_length_counts_what_stands_before_the_text(both):
    reference, tokenizer = both
    prompt = "the harbour "
    whole = reference(f"{prompt}ferry")["input_ids"]
    n_prefix = whole.index(reference(prompt, add_special_tokens=False)["input_ids"][0])
    expected = n_prefix + len(reference(prompt, add_special_tokens=False)["input_ids"])
    assert tokenize(tokenizer, ["ferry"], prompt=prompt).prompt_length == expected
    assert tokenize(tokenizer, ["ferry"]).prompt_length == 0


def test_a_limit_without_room_for_text_is_an_error(both):
    _, tokenizer = both
    n = len(tokenize(tokenizer, ["the "]).ids)
    with pytest.raises(ValueError, match=rf"max_length={n} leaves no room .* at least {n + 1}\."):
        tokenize(tokenizer, ["ferry passed"], prompt="the ", max_length=n)
    found = tokenize(tokenizer, ["ferry passed the pier"], prompt="the ", max_length=n + 1)
    assert len(found.ids) == n + 1


def test_a_long_text_may_keep_its_end(tmp_path):
    reference = make_tokenizer("bert", tmp_path)
    reference.truncation_side = "left"
    text = "the ferry passed the pier and the gulls " * 50
    expected = reference(text, truncation=True, max_length=16)["input_ids"]
    found = tokenize(make_text_tokenizer(reference, lowercase=False), [text], max_length=16)
    assert found.ids.tolist() == expected


def assert_same_pairs(both, pairs, max_length=None):
    """Compare ids, types where the tokenizer gives some, and which pairs were cut."""
    reference, tokenizer = both
    whole = [reference([first], [second])["input_ids"][0] for first, second in pairs]
    options = {"truncation": "longest_first", "max_length": max_length} if max_length else {}
    expected = reference(*map(list, zip(*pairs, strict=True)), **options)
    found = tokenize(tokenizer, pairs, max_length=max_length)
    assert found.ids.tolist() == list(chain.from_iterable(expected["input_ids"]))
    assert found.lengths.tolist() == [len(ids) for ids in expected["input_ids"]]
    types = list(chain.from_iterable(expected.get("token_type_ids", [])))
    assert found.types.tolist() == types if any(types) else found.types is None
    limit = np.inf if max_length is None else max_length
    assert found.truncated.tolist() == [len(ids) > limit for ids in whole]


@given(first=TEXT, second=TEXT, max_length=st.none() | st.integers(6, 40))
@example(first="", second="", max_length=None)
@example(first="", second="the ferry passed the pier", max_length=7)
@example(first="the ferry passed the pier", second="the ferry passed the pier", max_length=8)
@example(first="the ferry passed the pier", second="the ferry passed the pier", max_length=9)
def test_tokens_of_pairs_are_those_of_transformers(both, first, second, max_length):
    pairs = [(first, second), (second, first), (first, first)]
    assert_same_pairs(both, pairs, max_length)


@pytest.mark.parametrize("max_length", [40, 41])
def test_a_long_side_is_cut_as_transformers_does(both, max_length):
    # As words, because the far end of one without end may decide how Unigram splits it.
    texts = [f"the ferry passed the pier {'and the gulls ' * n}" for n in (0, 1, 200)]
    assert_same_pairs(both, [(first, second) for first in texts for second in texts], max_length)


@pytest.mark.parametrize("max_length", [6, 7, 16, 17])
def test_long_pairs_may_keep_their_ends(max_length, tmp_path):
    reference = make_tokenizer("bert", tmp_path)
    reference.truncation_side = "left"
    # One of its own, because transformers changes the backend that the two would share.
    again = AutoTokenizer.from_pretrained(tmp_path, truncation_side="left")
    both = reference, make_text_tokenizer(again, lowercase=False)
    texts = ["", "the ferry", "the pier passed the ferry " * 9, "Nobody remembers " * 8]
    assert_same_pairs(both, [(first, second) for first in texts for second in texts], max_length)


def tokenizer_with(**templates):
    """Make a tokenizer of words with a template of its own."""
    words = ["?", "<s>", "</s>", "<sep>", "text", "a", "the", "ferry"]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    special_tokens = [(word, i) for i, word in enumerate(words[1:4], 1)]
    tokenizer.post_processor = TemplateProcessing(**templates, special_tokens=special_tokens)
    return tokenizer


@pytest.mark.parametrize(
    ("pair", "ids", "types"),
    [
        ("$A $B", [4, 5, 6], [0, 0, 0]),
        ("$A $B:1", [4, 5, 6], [0, 0, 1]),
        ("$A:1 $B:0", [4, 5, 6], [1, 1, 0]),
        ("<s> $A </s> </s> $B:0 </s>", [1, 4, 5, 2, 2, 6, 2], [0] * 7),
        ("$A <sep> $B:1 <sep>:1 <s>:2", [4, 5, 3, 6, 3, 1], [0, 0, 0, 1, 1, 2]),
        ("<s>:3 $A:1 <sep>:0 $B:2", [1, 4, 5, 3, 6], [3, 1, 1, 0, 2]),
    ],
)
def test_templates_of_pairs(pair, ids, types):
    backend = tokenizer_with(single="<s> $A", pair=pair)
    found = tokenize(TextTokenizer(backend, types=True), [("text a", "the")])
    assert found.ids.tolist() == ids
    assert found.types.tolist() == types if any(types) else found.types is None
    assert tokenize(TextTokenizer(backend), [("text a", "the")]).types is None


@pytest.mark.parametrize("pair", ["$B $A", "<s> $B:1 <sep> $A:0", "$A $B $A", "$B $A <sep> $B"])
def test_templates_that_swap_or_repeat_a_text_are_refused(pair):
    tokenizer = TextTokenizer(tokenizer_with(single="<s> $A", pair=pair))
    assert tokenize(tokenizer, ["the ferry"]).ids.tolist() == [1, 6, 7]
    with pytest.raises(ValueError, match="does not keep each text in one piece and in order"):
        tokenize(tokenizer, [("the", "ferry")])


def test_templates_that_repeat_the_only_text_are_refused():
    with pytest.raises(ValueError, match="does not keep each text in one piece and in order"):
        TextTokenizer(tokenizer_with(single="$A <sep> $A", pair="$A $B"))
    with pytest.raises(ValueError, match=r"gives the tokens of 'text' the types \[0, 2\]"):
        TextTokenizer(tokenizer_with(single="$A <s>:2", pair="$A $B"))


def test_a_tokenizer_that_knows_no_word_of_the_samples():
    tokenizer = tokenizer_with(single="<s> $A", pair="<s> $A <sep> $B")
    tokenizer.model = WordLevel({"?": 0, "Ω": 1}, unk_token="?")
    found = tokenize(TextTokenizer(tokenizer), [("Ω the", "Ω")])
    assert found.ids.tolist() == [1, 1, 0, 3, 1]
    tokenizer.model = BPE({"Ω": 1}, [])
    with pytest.raises(ValueError, match="the tokenizer finds no token in any of"):
        TextTokenizer(tokenizer)


@pytest.mark.parametrize("kind", ["bert", "albert", "roberta"])
def test_a_pair_needs_room_for_both_texts(kind, tmp_path):
    make_tokenizer(kind, tmp_path)
    tokenizer = make_text_tokenizer(AutoTokenizer.from_pretrained(tmp_path), lowercase=False)
    pairs, n = [("the ferry passed", "the pier")], 4 if kind == "roberta" else 3
    n_prompt = len(tokenize(tokenizer, ["the "]).ids) - 2
    least = n + n_prompt + 2
    with pytest.raises(ValueError, match=rf"no room .* after {n} special and .* least {least}\."):
        tokenize(tokenizer, pairs, prompt="the ", max_length=least - 1)
    assert tokenize(tokenizer, pairs, prompt="the ", max_length=least).lengths == [least]


MEMORY_OF_LONG_TEXTS = """
import resource, sys
from pathlib import Path
from transformers import AutoTokenizer
from sk_sentemb.encoder.tokenization.tokenizer import make_text_tokenizer

tokenizer = make_text_tokenizer(AutoTokenizer.from_pretrained(sys.argv[1]), lowercase=False)
texts = ["the ferry passed the pier. " * 400_000, "東京!" * 3_000_000, "a.b" * 3_500_000]
def run(texts):
    tokenizer(texts, prompt="", max_length=256, long_text="truncate")
run(["short"])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
run(texts)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_ten_megabytes_cost_no_more_than_their_first_tokens(minilm_folder, run_python):
    kilobytes = int(run_python(MEMORY_OF_LONG_TEXTS, minilm_folder).stdout)
    assert kilobytes < 50_000


@given(n_prompt=st.integers(0, 5), size=st.integers(1, 40), n_more=st.integers(1, 500))
def test_windows_are_equally_long_overlap_and_cover_the_text(n_prompt, size, n_more):
    prompt, body = [-1] * n_prompt, list(range(size + n_more))
    windows = np.array(_split_into_windows(prompt + body, n_prompt, n_prompt + size))
    assert windows.shape[1] == n_prompt + size
    assert (windows[:, :n_prompt] == -1).all()
    bodies = windows[:, n_prompt:]
    assert (np.diff(bodies, axis=1) == 1).all()
    assert (bodies[0, 0], bodies[-1, -1]) == (0, len(body) - 1)
    steps = np.diff(bodies[:, 0])
    assert (steps > 0).all()
    assert steps.max() <= size - size // 8
    assert np.ptp(steps) <= 1


def test_chunks_have_prompt_and_special_tokens(both):
    reference, tokenizer = both
    text = "the ferry passed the pier and the gulls " * 20
    found = tokenize(
        tokenizer, ["short", text, ""], prompt="query: ", max_length=32, long_text="chunk"
    )
    n_windows = np.bincount(found.text_of)
    assert n_windows[0] == n_windows[2] == 1 < n_windows[1]
    assert (found.lengths[found.text_of == 1] == 32).all()
    assert not found.truncated.any()
    whole = reference("query: " + text)["input_ids"]
    n_suffix = tokenizer.count_special_tokens(1) - whole.index(
        reference("query: ", add_special_tokens=False)["input_ids"][0]
    )
    for window in np.flatnonzero(found.text_of == 1):
        ids = found.select(np.array([window]))[0].tolist()
        assert ids[: found.prompt_length] == whole[: found.prompt_length]
        assert ids[len(ids) - n_suffix :] == whole[len(whole) - n_suffix :]


def test_the_error_about_a_long_text_has_its_place(both):
    _, tokenizer = both
    texts = ["the pier", "", "the ferry passed the pier " * 9]
    with pytest.raises(TextTooLongError, match="text 2 is longer than 16 tokens") as caught:
        tokenize(tokenizer, texts, max_length=16, long_text="error")
    assert (caught.value.position, caught.value.max_length) == (2, 16)


LENGTHS = st.lists(st.integers(0, 50), max_size=60).map(np.array)


@given(lengths=LENGTHS, budget=st.integers(1, 300), padded=st.booleans())
@example(lengths=np.array([5, 5, 5]), budget=10, padded=False)
@example(lengths=np.array([5, 4, 4]), budget=10, padded=True)
def test_packs_hold_each_row_once_within_the_budget(lengths, budget, padded):
    lengths = lengths.astype(np.int64)
    rows = np.arange(len(lengths)) + 7
    packs = list(make_packs(rows, lengths, budget, padded=padded))
    assert sorted(row for pack in packs for row in pack.rows) == rows.tolist()
    costs = []
    for pack in packs:
        assert (pack.lengths == lengths[pack.rows - 7]).all()
        assert (np.diff(pack.lengths) <= 0).all()
        assert sum(n for n, _ in pack.groups) == len(pack.rows)
        assert np.repeat(*np.array(pack.groups).T[::-1]).tolist() == pack.lengths.tolist()
        assert len({length for _, length in pack.groups}) == len(pack.groups)
        costs.append(len(pack.rows) * pack.lengths.max() if padded else pack.lengths.sum())
        assert costs[-1] <= budget or len(pack.rows) == 1
    # A pack is full: the next text would not have fitted, unless tokenless texts filled the count.
    for pack, cost, following in zip(packs, costs, packs[1:], strict=False):
        more = pack.lengths[0] if padded else following.lengths[0]
        assert cost + more > budget or len(pack.rows) >= budget
