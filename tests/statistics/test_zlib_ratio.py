"""The ratio is that of the loss and the bytes of the text as it was given."""

import math
import zlib

import numpy as np
import pytest
import torch

from fimetric.detectors import InputComplexity
from fimetric.objectives import CausalLM
from fimetric.statistics import ZlibRatio

pytest.importorskip("transformers")
from known_texts import TEXTS, causal, refuses_to_depend_on_a_batch, token_losses

MORE = [*TEXTS, "É ß – 漢", "  two , and\n\ta line"]


def test_columns_are_the_loss_and_the_bytes_of_the_string():
    objective = causal()
    found = refuses_to_depend_on_a_batch(ZlibRatio(objective), objective.prepare(MORE))
    for (ratio, length), text in zip(found.tolist(), MORE, strict=True):
        nats = 8 * math.log(2) * len(zlib.compress(text.encode("utf-8")))
        assert length == pytest.approx(nats, rel=1e-12)
        assert ratio == pytest.approx(sum(token_losses(objective, text)[0]) / nats, rel=1e-9)


def test_what_a_window_leaves_out_is_not_compressed():
    objective = causal(window=5)
    ids = objective.tokenizer(TEXTS[0])["input_ids"][:5]
    read = objective.tokenizer.decode(ids[1:])
    assert TEXTS[0].startswith(read) and read != TEXTS[0]
    ((ratio, length),) = ZlibRatio(objective).measure(objective.prepare(TEXTS[:1])).tolist()
    assert length == pytest.approx(8 * math.log(2) * len(zlib.compress(read.encode())), rel=1e-12)
    assert ratio * length == pytest.approx(sum(token_losses(objective, TEXTS[0])[0]), rel=1e-9)


def test_the_table_of_strings_and_the_difference_in_nats():
    objective = causal(double=False)
    table = ZlibRatio(objective).features(TEXTS, batch_size=2, progress=False)
    np.testing.assert_allclose(
        table.values[:, 0], table.losses[:, 0] / table.values[:, 1], rtol=1e-5
    )
    scores = InputComplexity("zlib").fit(table).score(table)
    np.testing.assert_allclose(scores, table.losses[:, 0] - table.values[:, 1], rtol=1e-12)


def test_token_ids_alone_are_refused():
    with pytest.raises(TypeError, match=r"ZlibRatio needs the texts.*CausalLM\(model, tokenizer"):
        ZlibRatio(CausalLM(causal().module))
    with pytest.raises(TypeError, match="ZlibRatio needs a CausalLM"):
        ZlibRatio(torch.nn.Linear(1, 1))
