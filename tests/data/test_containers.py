"""Lists, tuples, dictionaries and streams: each is read in the one way that fits, or refused."""

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ChainDataset, DataLoader, Dataset, IterableDataset, random_split

from fimetric.data import Batch, batches, length
from fimetric.data.keys import data_key
from fimetric.data.kinds import data_of
from fimetric.objectives.base import values_of

N = 6
GENERATOR = torch.Generator().manual_seed(0)
PICTURES = torch.rand(N, 3, 5, 7, generator=GENERATOR)
ROWS = torch.rand(N, 4, generator=GENERATOR)
GREY = torch.rand(N, 5, 7, generator=GENERATOR)  # without a dimension of channels
PIXELS = (PICTURES * 255).byte()


class Items(Dataset):
    """A data set of whatever is in a list."""

    def __init__(self, items: list, said: int | None = None) -> None:
        self.items, self.said = items, len(items) if said is None else said

    def __len__(self) -> int:
        return self.said

    def __getitem__(self, i: int):
        return self.items[i]


class Stream(IterableDataset):
    """Samples one after the other, of a length that may be wrong."""

    def __init__(self, said: int) -> None:
        self.said = said

    def __len__(self) -> int:
        return self.said

    def __iter__(self):
        return iter(ROWS)


def read(data, size: int = 4):
    found = list(batches(data, size))
    return torch.cat([batch.x for batch in found])


def pil(x: torch.Tensor) -> Image.Image:
    return Image.fromarray(x.permute(1, 2, 0).contiguous().numpy())


SAMPLES = {  # what is given as the data -> the samples that it holds
    "tensors of a picture": (list(PICTURES), PICTURES),
    "arrays of a picture": ([x.numpy() for x in PICTURES], PICTURES),
    "grey pictures": (list(PICTURES[:, :1]), PICTURES[:, :1]),
    "bytes, channels first": (list(PIXELS), PIXELS / 255),
    "bytes, channels last": ([x.permute(1, 2, 0).numpy() for x in PIXELS], PIXELS / 255),
    "PIL": ([pil(x) for x in PIXELS], PIXELS / 255),
    "a tuple of PIL": (tuple(pil(x) for x in PIXELS), PIXELS / 255),
    "vectors": (list(ROWS), ROWS),
    "lists of numbers": (ROWS.double().tolist(), ROWS.double()),
    "nested lists": (PICTURES.double().tolist(), PICTURES.double()),
    "tuples of numbers": ([tuple(x) for x in ROWS.double().tolist()], ROWS.double()),
    "pairs": ([(x, i) for i, x in enumerate(PICTURES)], PICTURES),
    "pairs of a matrix": ([(x, i) for i, x in enumerate(GREY)], GREY),
    "pairs of lists": ([(x, 0) for x in ROWS.double().tolist()], ROWS.double()),
    "dictionaries": ([{"x": x} for x in PICTURES], PICTURES),
    "named matrices": ([{"x": x, "id": f"s{i}"} for i, x in enumerate(GREY)], GREY),
    "one": ([PICTURES[0]], PICTURES[:1]),
    "batches of pictures": (list(PICTURES.split(2)), PICTURES),
    "one batch of pictures": ([PICTURES], PICTURES),
    "uneven batches of rows": (list(ROWS.split(4)), ROWS),
    "uneven batches of matrices": (list(GREY.split(4)), GREY),
    "batches with labels": ([(x, torch.zeros(len(x))) for x in ROWS.split(2)], ROWS),
    "lists with labels": ([[x, torch.zeros(len(x))] for x in GREY.split(2)], GREY),
    "batches with ids": ([{"x": x, "id": ["a", "b"]} for x in ROWS.split(2)], ROWS),
    "Batches": ([Batch(x, ["a", "b"]) for x in ROWS.split(2)], ROWS),
    "batches of PIL": ([[pil(x) for x in part] for part in PIXELS.split(2)], PIXELS / 255),
    "a dictionary of PIL": ({"image": [pil(x) for x in PIXELS], "label": [0] * N}, PIXELS / 255),
    "a dictionary of tensors": ({"image": list(PICTURES)}, PICTURES),
    "a set of lists": (Items(ROWS.double().tolist()), ROWS.double()),
    "a set of lists and labels": (Items([[x, 0] for x in PICTURES]), PICTURES),
    "a set of inputs and targets": (Items([(x, x) for x in PICTURES]), PICTURES),
    "a loader of lists": (DataLoader(Items([(x, 0) for x in GREY]), batch_size=2), GREY),
    "a loader of PIL": (
        DataLoader(Items([pil(x) for x in PIXELS]), 4, collate_fn=list),
        PIXELS / 255,
    ),
    "a loader without batches": (DataLoader(Items(list(PICTURES)), batch_size=None), PICTURES),
    "a loader of made batches": (
        DataLoader(Items(list(PICTURES.split(2))), batch_size=None),
        PICTURES,
    ),
    "a stream of a right length": (Stream(N), ROWS),
    "a stream that says less": (Stream(2), ROWS),
    "a stream that says more": (Stream(99), ROWS),
    "a chain": (ChainDataset([Stream(N), Stream(2)]), torch.cat([ROWS, ROWS])),
    "a loader of a stream": (DataLoader(Stream(N), batch_size=4), ROWS),
    "a column": (datasets.Dataset.from_dict({"x": ROWS.tolist()})["x"], ROWS.double()),
    "big-endian": (ROWS.numpy().astype(">f4"), ROWS),
    "turned": (ROWS.numpy()[::-1], ROWS.flip(0)),
    "an inference tensor": (torch.inference_mode()(ROWS.clone)(), ROWS),
}


@pytest.mark.filterwarnings("ignore:Length of IterableDataset")
@pytest.mark.parametrize("size", [1, 4, 100])
@pytest.mark.parametrize("name", SAMPLES)
def test_what_a_person_would_see(name, size):
    data, expected = SAMPLES[name]
    found = read(data, size)
    assert found.shape == expected.shape and (found.double() - expected.double()).abs().max() < 1e-6
    assert not found.is_inference()
    assert length(data) in (None, len(expected))


def splits() -> dict:
    made = datasets.Dataset.from_dict({"x": ROWS.tolist()})
    return {"train": made, "test": made}


REFUSED = {  # what is given -> words of the refusal
    "matrices": (list(GREY), TypeError, r"\(5, 7\) are samples, or batches of 5.*stack.*cat"),
    "series": (
        [ROWS[:2], ROWS, ROWS[:3]],
        TypeError,
        r"shapes \(2, 4\), \(6, 4\), ... are samples of different length, or batches; .*Dataset",
    ),
    "two series": ([ROWS[:2], ROWS], TypeError, "samples of different length, or batches"),
    "one matrix": ([ROWS], TypeError, r"\(6, 4\) are samples, or batches of 6"),
    "stacks": (list(PICTURES.transpose(1, 2)), TypeError, r"\(5, 3, 7\) are samples"),
    "dictionaries of a matrix": ([{"x": x} for x in GREY], TypeError, "samples, or batches of 5"),
    "grey and colour": ([PICTURES[0], PICTURES[0, :1]], TypeError, "cannot be told"),
    "pictures of two sizes": ([PICTURES[0], PICTURES[0, :, :4]], ValueError, "element 1 has shape"),
    "vectors of two sizes": (
        [x.long() for x in (ROWS[0], ROWS[1], ROWS[2, :3])],
        ValueError,
        "element 2 has shape",
    ),
    "matrices of two widths": ([GREY[0], GREY[0, :, :3]], ValueError, "element 1 has shape"),
    "lists of two lengths": ([[1.0, 2.0], [3.0, 4.0], [5.0]], ValueError, "element 2 has shape"),
    "other dimensions": ([ROWS[0], GREY[0]], ValueError, "element 1 has shape"),
    "numbers": ([1.0, 2.0], TypeError, "list of numbers"),
    "records": (
        [{"a": 1.0, "b": 2.0}] * 3,
        TypeError,
        r"is a table; pass pandas.DataFrame\(list\)",
    ),
    "a tuple of batches": (ROWS.split(2), TypeError, "a tuple of 3 arrays"),
    "a tuple of uneven batches": (ROWS.split(4), TypeError, "a tuple of 2 arrays"),
    "a tuple of pictures": (tuple(PICTURES), TypeError, "a tuple of 6 arrays"),
    "a tuple of sets": ((Items([1]), Items([2])), TypeError, "begins with a Items"),
    "parts of a set": (random_split(Items(list(ROWS)), [3, 3]), TypeError, "ConcatDataset"),
    "None in a list": ([ROWS[0], None], TypeError, "element 1 of the list is NoneType"),
    "texts": (["a", "b"], TypeError, "element 0 of the list is text.*tokenizer"),
    "a text": ("some text", TypeError, "fimetric.data.load.*tokenizer"),
    "an array of texts": (np.array(["a", "b"]), TypeError, "tokenizer"),
    "a stream of texts": (iter(["a", "b"]), TypeError, "tokenizer"),
    "a set of texts": (Items(["a", "b"]), TypeError, "tokenizer"),
    "bytes": (b"text", TypeError, "is a bytes"),
    "a dictionary of texts": ({"x": ["a", "b"]}, TypeError, "column 'x' holds str_.*tokenizer"),
    "a column of texts": (datasets.Dataset.from_dict({"text": ["a"]}), TypeError, "'text'.*drop"),
    "splits": (splits(), TypeError, r"train, test; pass one of them, as data\['test'\]"),
    "a DatasetDict": (datasets.DatasetDict(splits()), TypeError, r"train, test; .*data\['test'\]"),
    "splits of tensors": (
        {"train": ROWS, "val": ROWS},
        TypeError,
        r"train, val; .*data\['train'\]",
    ),
    "sets by name": ({"a": Items([1]), "b": Items([1])}, TypeError, r"a, b; .*data\['a'\]"),
    "loaders by name": ({"a": DataLoader(Items([1]))}, TypeError, "dictionary of data sets, a"),
    "meta": (ROWS.to("meta"), TypeError, "the tensor is on the device 'meta'"),
    "meta in a set": (Items([ROWS[0].to("meta")]), TypeError, "on the device 'meta'"),
    "sparse": (ROWS.to_sparse(), TypeError, r"sparse .*to_dense"),
    "sparse in a dictionary": ({"x": ROWS.to_sparse()}, TypeError, r"'x' is sparse .*to_dense"),
    "objects": (np.array([ROWS.numpy(), None], dtype=object), TypeError, "numpy.stack"),
    "dates": (np.array(["2020-01-01"], "datetime64[D]"), TypeError, "dates to numbers"),
    "fields": (np.zeros(3, [("a", "f4"), ("b", "f4")]), TypeError, "one plain array"),
    "masked": (np.ma.array([[1.0, 2.0]], mask=[[0, 1]]), TypeError, "masked values"),
    "a number": (torch.tensor(3.0), TypeError, "single number"),
    "a picture": (pil(PIXELS[0]), TypeError, "list of pictures"),
    "a sample as a dictionary": (
        {"x": 3.0, "label": 1},
        TypeError,
        "'x' is one float without rows",
    ),
    "a dictionary of one picture": ({"image": pil(PIXELS[0])}, TypeError, "'image' is one"),
    "a set of values": ({1.0, 2.0}, TypeError, "no order"),
    "a set that says more": (
        Items(list(ROWS), 9),
        ValueError,
        "holds 9 samples, but has no item 6",
    ),
    "uneven entries": (
        {"x": ROWS, "y": ROWS[:3]},
        ValueError,
        "first dimension, got {'x': 6, 'y': 3}",
    ),
    "one id of a batch": (iter([{"x": ROWS[:3], "id": "abc"}]), ValueError, "one id 'abc'"),
    "a batch of dictionaries": (
        DataLoader(Items([{"x": x} for x in ROWS]), 3, collate_fn=list),
        TypeError,
        "3 elements that are alike",
    ),
    "a batch of vectors": (
        DataLoader(Items(list(ROWS)), 3, collate_fn=list),
        TypeError,
        "collate_fn",
    ),
    "a batch of two pictures": (iter([list(PICTURES[:2])]), TypeError, "2 elements that are alike"),
    "several views": (Items([(x, x, x) for x in ROWS]), TypeError, "3 elements that are alike"),
    "a loader without batches": (
        DataLoader(Items(list(GREY)), batch_size=None),
        TypeError,
        "give the DataLoader a batch_size",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_be_read_in_two_ways_or_in_none_is_refused(name):
    data, kind, words = REFUSED[name]
    with pytest.raises(kind, match=words):
        list(batches(data, 2))


def test_an_input_and_its_target_are_no_two_samples():
    for x in (ROWS, PICTURES):
        loader = DataLoader(torch.utils.data.TensorDataset(x, x), batch_size=2)
        assert torch.equal(read(loader), x)


def test_integers_are_passed_on():
    audio = np.arange(12, dtype=np.int16).reshape(3, 4)
    [batch] = batches(audio, 3)
    assert batch.x.dtype == torch.int16 and batch.x.tolist() == audio.tolist()
    [batch] = batches(audio.astype(np.uint16), 3)
    assert batch.x.tolist() == audio.tolist()


def declared(kind: str, format: str | None, last: bool = False) -> datasets.Dataset:
    """A Hugging Face set whose column ``x`` declares its number format."""
    pixels = PIXELS.permute(0, 2, 3, 1) if last else PIXELS
    feature = datasets.Array3D(tuple(pixels.shape[1:]), kind)
    made = datasets.Dataset.from_dict(
        {"x": pixels.numpy().astype(kind)}, features=datasets.Features({"x": feature})
    )
    return made.with_format(format)


@pytest.mark.parametrize("format", [None, "numpy", "torch"])
@pytest.mark.parametrize("last", [False, True])
def test_declared_bytes_are_pictures_as_in_a_column_of_images(last, format):
    made = declared("uint8", format, last)
    images = datasets.Dataset.from_dict({"x": [pil(x) for x in PIXELS]})
    expected = read(images.cast_column("x", datasets.Image()))
    for data in (made, made["x"], made.to_iterable_dataset()):
        assert torch.equal(read(data), expected)


@pytest.mark.parametrize("format", [None, "numpy", "torch"])
@pytest.mark.parametrize("kind", ["int16", "int64", "float32", "float64"])
def test_declared_numbers_keep_their_format(kind, format):
    found = read(declared(kind, format))
    assert found.dtype == getattr(torch, kind) and torch.equal(found, PIXELS.to(found.dtype))


def test_a_format_that_is_asked_for_goes_before_the_declared_one():
    made = declared("uint8", None)
    assert read(made.with_format("torch", dtype=torch.float64)).dtype == torch.float64
    turned = made.with_transform(lambda rows: {"x": [np.array(x) / 255 for x in rows["x"]]})
    assert torch.equal(read(turned), PIXELS.double() / 255)


def test_nested_lists_of_bytes_are_grey_pictures_and_tokens_stay_int64():
    rows = datasets.List(datasets.List(datasets.Value("uint8")))
    texts = datasets.List(datasets.Value("int32"))
    made = datasets.Dataset.from_dict(
        {"image": PIXELS[:, 0].tolist()}, features=datasets.Features({"image": rows})
    )
    assert torch.equal(read(made), PIXELS[:, :1].float() / 255)
    made = datasets.Dataset.from_dict(
        {"input_ids": [[1, 2]]}, features=datasets.Features({"input_ids": texts})
    )
    assert next(batches(made, 1)).x["input_ids"].dtype == torch.int64


@pytest.mark.parametrize("stream", [False, True])
def test_a_damaged_picture_of_a_set_is_named_by_its_row_and_column(stream):
    cells = [{"bytes": b"no picture", "path": None}]
    made = datasets.Dataset.from_dict({"x": cells}).cast_column("x", datasets.Image())
    with pytest.raises(ValueError, match=r"item 0 of the \w+, column 'x', is damaged"):
        list(batches(made.to_iterable_dataset() if stream else made, 1))


TEXTS = [[5, 6, 7], [8], [9, 10]]
PADDED, MASK = [[5, 6, 7], [8, 0, 0], [9, 10, 0]], [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
RAGGED = {
    "a set": Items([{"input_ids": torch.tensor(t)} for t in TEXTS]),
    "a list": [{"input_ids": t} for t in TEXTS],
    "a list of batches": [{"input_ids": torch.tensor([t])} for t in TEXTS],
    "a dictionary of lists": {"input_ids": TEXTS},
    "a tokenised set": datasets.Dataset.from_dict({"input_ids": TEXTS, "label": [0, 1, 2]}),
    "with masks": datasets.Dataset.from_dict(
        {"input_ids": TEXTS, "attention_mask": [[1] * len(t) for t in TEXTS]}
    ),
    "a generator": ({"input_ids": np.array([t])} for t in TEXTS),
}


@pytest.mark.parametrize("name", RAGGED)
def test_texts_of_other_length_are_padded_on_the_right(name):
    [batch] = batches(RAGGED[name], 3)
    assert set(batch.x) == {"input_ids", "attention_mask"}
    assert batch.x["input_ids"].tolist() == PADDED and batch.x["attention_mask"].tolist() == MASK
    assert batch.x["input_ids"].dtype == torch.int64 and batch.ids == ["0", "1", "2"]


def test_padding_keeps_given_masks_and_the_rest_must_agree():
    left = {"input_ids": torch.tensor([[0, 4]]), "attention_mask": torch.tensor([[0, 1]])}
    none = {"input_ids": torch.tensor([[7, 8, 9]])}
    [batch] = batches([left, none], 2)
    assert batch.x["attention_mask"].tolist() == [[0, 1, 0], [1, 1, 1]]
    assert batch.x["input_ids"].tolist() == [[0, 4, 0], [7, 8, 9]]
    types = [{"input_ids": [1] * n, "token_type_ids": [1] * n} for n in (1, 2)]
    assert next(batches(types, 2)).x["token_type_ids"].tolist() == [[1, 0], [1, 1]]
    even = [{"input_ids": [1, 2]}, {"input_ids": [3, 4]}]
    assert set(next(batches(even, 2)).x) == {"input_ids"}  # nothing was padded
    for other in ({"weight": torch.ones(1, 2)}, {}):
        with pytest.raises(ValueError, match="samples differ: 0 is"):
            list(batches([{**none, "weight": torch.ones(1, 3)}, {**left, **other}], 2))
    with pytest.raises(ValueError, match="one text alone"):
        list(batches({"input_ids": [1, 2, 3]}, 2))
    with pytest.raises(ValueError, match="element 1 has shape"):
        list(batches([torch.ones(2, 5).long(), torch.ones(1, 4).long()], 3))


def test_an_empty_text_is_all_padding():
    [batch] = batches([{"input_ids": []}, {"input_ids": [3, 4]}], 2)
    assert batch.x["input_ids"].tolist() == [[0, 0], [3, 4]]
    assert batch.x["attention_mask"].tolist() == [[0, 0], [1, 1]]


def test_one_vocabulary_says_which_entry_is_the_data():
    for name in ("x", "image", "images", "img", "pixel_values", "input_ids", "anything"):
        others = {"label": 1, "id": 2, "attention_mask": 3}
        assert data_key([*others, name], "here") == name
        batch = {"attention_mask": torch.ones(2), name: torch.zeros(2)}
        assert data_of(batch) is values_of({name: batch[name]})[0]
    for name in ("x", "image", "images", "img"):
        assert torch.equal(read({name: ROWS, "label": ROWS}), ROWS)
    for names in (["a", "b"], ["x", "image"], ["label"], []):
        with pytest.raises(ValueError, match=f"it has {', '.join(names) or 'none'}; call it 'x'"):
            data_key(names, "here")
    with pytest.raises(ValueError, match="which entry of the batch is the data: it has a, b"):
        data_of({"a": ROWS, "b": ROWS})
    assert torch.equal(data_of({"a": ROWS, "b": -ROWS}, likely=True), ROWS)
