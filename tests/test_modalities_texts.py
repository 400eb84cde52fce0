"""The sets of texts of docs/results/modalities: how they are made, and how long they are."""

import json
import os
import re
from random import Random

import pytest

import fimetric as fm
from stand_ins import gpt2
from studies import modules

pytest.importorskip("pyarrow")
REPEATED = ("repeated-words", "repeated-sentences", "one-letter")
ALTERED = ("shuffled-words", "capitals", *REPEATED)
PROSE = (
    "The {} is old . Of the river <unk> its {} were never found . Some say that they lie "
    "under the market , where the others sold a cat for 2,200 of them ; nobody has looked . "
    "In 1919 the city 's {} changed it all ( for a while ) and then wrote a book about it ."
)
CODE = "def {}(x):\n    return {}(x) + 1\n\n\n" * 6
WORDS = ("stone", "house", "tower", "song", "letter", "winter", "garden", "engine", "mirror")


@pytest.fixture
def study():
    with modules("modalities") as imported:
        yield imported


@pytest.fixture
def opened(tmp_path, study):
    gpt2([PROSE, *WORDS], tmp_path / "model")
    return fm.objectives.from_pretrained(tmp_path / "model")


def stored(study, folder, form, test, train):
    """Write texts that all differ."""
    for part, count in (("test", test), ("train", train)):
        names = [(WORDS[i % 9], WORDS[i // 9 % 9], f"{part}{i}") for i in range(count)]
        texts = [f"{form.format(*name)} {name[2]}" for name in names]
        study("sets").write(folder, part, {"text": texts, "label": list(range(count))})


@pytest.fixture
def data(tmp_path, study, monkeypatch):
    root = tmp_path / "data"
    stored(study, root / "wikitext2", PROSE, 520, 5)
    stored(study, root / "python_code", CODE.replace("{}", "{0}{1}{2}"), 510, 5)
    for name in ("ag_news", "tinyshakespeare", "pubmed_abstracts", "german_news"):
        stored(study, root / name, PROSE.replace("is old", f"was {name}"), 207, 400)
    monkeypatch.setenv("FIMETRIC_DATA", str(root))


def sets(folder):
    return {path.name: fm.data.load(path) for path in folder.iterdir()}


def test_texts_of_natural_lengths(study, data, tmp_path):
    study("prepare_text").main([], tmp_path / "made")
    for own, other in (("wikitext2", "python_code"), ("python_code", "wikitext2")):
        found = sets(tmp_path / "made" / own / "natural")
        originals = fm.data.load(own)
        length = {f"{own}/test/{i}": len(originals.texts[i]) for i in range(len(originals))}
        assert found["own"].ids == list(length)[500:]
        assert found["own"].texts == originals.texts[500:]
        for name in ALTERED:
            assert set(found[name].ids) <= set(list(length)[:500])
            assert [len(text) for text in found[name].texts] == [length[i] for i in found[name].ids]
            assert len(set(found[name].texts)) == len(found[name])
        assert found["ag_news"].ids == [
            *(f"ag_news/test/{i}" for i in range(207)),
            *(f"ag_news/train/{i}" for i in range(293)),
        ]
        assert len(found[other]) == 500
        assert found["capitals"].texts[3] == originals.texts[3].upper()
        counts = json.loads((tmp_path / "made" / own / "natural.json").read_text())
        assert {name: each["samples"] for name, each in counts.items()} == {
            name: len(each) for name, each in found.items()
        }
    assert "ag_news-spaced" in sets(tmp_path / "made" / "wikitext2" / "natural")
    assert "ag_news-spaced" not in found  # python_code has no spacing to share


def test_texts_of_one_length_have_it_by_the_model(study, data, opened, tmp_path):
    arguments = ["wikitext2", str(tmp_path / "model")]
    study("prepare_text").main(arguments, tmp_path / "made")
    found = sets(tmp_path / "made" / "wikitext2" / "64")
    for name, each in found.items():
        mask = opened.prepare(each.texts)["attention_mask"]
        assert mask.shape[1] == 64 and bool(mask.all()), name
    assert {*ALTERED, "own", "ag_news-spaced", "python_code"} < set(found)
    for name, unit in (("one-letter", 1), ("repeated-words", 12)):
        assert all(len(set(text.strip())) <= unit for text in found[name].texts)
    assert 20 < len(found["one-letter"]) <= 52  # no more letters, and no text twice


def test_a_set_without_texts_is_refused(study, tmp_path):
    prepare = study("prepare_text")
    with pytest.raises(ValueError, match="one-letter has no text that is long enough"):
        prepare.put(tmp_path, {"one-letter": [None, None]})
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_second_call_writes_the_same_bytes(study, data, tmp_path):
    both = []
    for name in ("one", "two"):
        study("prepare_text").main([], tmp_path / name)
        files = sorted((tmp_path / name).rglob("*.*"))
        both.append([(path.relative_to(tmp_path / name), path.read_bytes()) for path in files])
    assert both[0] == both[1]


def test_a_beginning_is_of_the_first_tokens_alone(study, opened):
    beginning, tokens = study("rows").beginning, opened.tokenizer
    for text in (PROSE, "x" * 64, " ".join(WORDS) * 9):
        found = beginning(text, tokens)
        assert tokens(found)["input_ids"] == tokens(text)["input_ids"][:64]
    assert beginning("x" * 20, tokens) is None
    assert beginning("x" * 62 + "漢字", tokens) is None  # of three bytes, one a token each


def test_tokens_that_a_tokenizer_adds_are_counted(study, opened):
    from tokenizers.processors import TemplateProcessing

    tokens = opened.tokenizer
    tokens.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A <s>", special_tokens=[("<s>", tokens.bos_token_id)]
    )
    ids = tokens(study("rows").beginning(PROSE, tokens))["input_ids"]
    assert len(ids) == 64 and ids[0] == ids[-1] == tokens.bos_token_id
    assert ids[1:-1] == tokens(PROSE)["input_ids"][1:63]


def test_shuffled_words_keep_all_but_their_order(study):
    shuffled = study("fooling").shuffled_words
    for text in (PROSE, CODE, "one", " a  b\n\n\tc d "):
        found = shuffled(text, Random(0))
        assert sorted(found.split()) == sorted(text.split())
        assert re.sub(r"\S+", "", found) == re.sub(r"\S+", "", text)
        assert len(found) == len(text) and found == shuffled(text, Random(0))
    assert shuffled(PROSE, Random(0)) != PROSE


def test_units_are_the_texts_own(study):
    fooling, draw = study("fooling"), Random(0)
    words = {each for i in range(99) for each in fooling.word(PROSE, Random(i))}
    assert words <= {f"{word} " for word in PROSE.split() if word.isalpha()} and len(words) > 20
    assert fooling.word("1 2", draw)[0] in ("1 ", "2 ")
    text = "In 7.5 years D. Watson won . Was he glad ? He"
    said = ["In 7.5 years D. Watson won . ", "Was he glad ? ", "He "]
    assert fooling.sentences(text, draw) == said
    assert fooling.sentences("no stop", draw) == ["no stop "]
    assert fooling.sentences("Ends .", draw) == ["Ends . "]
    assert fooling.lines("\n  \n    x = 1\ny = 2", draw) == ["    x = 1\n", "y = 2\n"]
    assert fooling.capitals("straße nach é", draw) == "STRAßE NACH É"
    assert fooling.repeated("ab ", 7) == "ab ab a" and fooling.repeated("abc", 2) == "ab"


def test_a_unit_comes_twice_or_the_next_is_taken(study):
    prepare, Row = study("prepare_text"), study("rows").Row
    row = Row("a", "x" * 20, 0)
    assert prepare.again(row, ["y" * 11], lambda text: text) is None
    assert prepare.again(row, ["y" * 11, "z" * 10], lambda text: text).text == "z" * 20


def test_long_tokens_are_looked_for_in_longer_texts(study):
    cut = lambda text: text[:300] if len(text) >= 300 else None  # noqa: E731
    filled = study("prepare_text").filled
    assert filled("ab", 20, cut) == "ab" * 150
    assert filled("ab", 20, lambda text: None) is None


@pytest.mark.parametrize(
    ("plain", "apart"),
    [
        ("It's the dogs' own, isn't it?", "It 's the dogs ' own , isn 't it ?"),
        ('He said "2,200 (7.62%) of $5."', 'He said " 2,200 ( 7.62 % ) of $ 5 . "'),
        ("Mr. D. M. Watson of the U.S. left.", "Mr. D. M. Watson of the U.S. left ."),
        ("In the U.S.", "In the U.S ."),
        ("Shares of Co., Inc. and others rose...", "Shares of Co. , Inc. and others rose ..."),
        ("one.\nTwo; a well-known a/b", "one . Two ; a well-known a / b"),
        ("the company 's 1990's", "the company 's 1990 's"),
        ("in 1990,but 1,5", "in 1990 , but 1,5"),
        ("'quoted' x_y", "' quoted ' x _ y"),
        ("", ""),
    ],
)
def test_spacing(study, plain, apart):
    assert study("spacing").spaced(plain) == apart


@pytest.mark.skipif("FIMETRIC_DATA" not in os.environ, reason="FIMETRIC_DATA is not set")
def test_spacing_is_that_of_wikitext2(study):
    """Its own texts, written as people do, get their spaces back."""
    rows = study("rows").stored("wikitext2", "test")
    texts = [row.text.replace("<unk>", "Unk") for row in rows]
    same = [study("spacing").spaced(closed(text)) == text for text in texts]
    assert sum(same) > 0.97 * len(same)


def closed(text):
    text = re.sub(r" (?=(?:[,.;:?!)\]%]|\.\.\.)(?: |$))", "", text)
    text = re.sub(r"(?<= )([(\[$£#]) ", r"\1", text)
    return re.sub(r" '(?=(?:s|t|re|ve|ll|d|m)\b)", "'", text)
