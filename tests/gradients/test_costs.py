"""Which form is taken follows from shapes and costs alone; values do not depend on it."""

import threading
from collections import Counter

import pytest
import torch
from zoo import ZOO

from fimetric.gradients import GradientNorms
from fimetric.gradients.columns import Columns
from fimetric.gradients.contributions import Factors, Geometry, Patches, factors, patches, total
from fimetric.gradients.contributions.costs import FIXED, Costs, restored, used, using
from fimetric.gradients.contributions.gram import TRUSTED

GRAM = Costs(memory_pass=1e4, calls=-1e30, gram=1e-6, grouped=0.5)
DIRECT = Costs(calls=1e30, grouped=2.0)
AGREE = 1e-5  # relatively, above the rounding bound
FORMS = [
    (factors, "norms_by_gram"),
    (total, "norms_by_gram"),
    (patches, "norms_by_pixels"),
    (patches, "norms_by_groups"),
    (patches, "norms_unfolded"),
]


@pytest.fixture
def taken(monkeypatch) -> Counter:
    """Count the forms that are taken."""
    count = Counter()
    for module, name in FORMS:
        form = getattr(module, name)

        def counting(*args, form=form):
            count[form.__name__] += 1
            return form(*args)

        monkeypatch.setattr(module, name, counting)
    return count


def convolution(samples=4, channels=16):
    x, g = torch.randn(2, samples, 1, channels, 6, 6)
    shape, geometry = torch.Size((channels, channels, 3, 3)), Geometry((1, 1), (1, 1), (1, 1))
    return Patches(x, g, shape, geometry)


def read(name, costs, dtype=torch.float32):
    """Return table and bound of a model, made anew."""
    torch.manual_seed(0)
    module, batch, losses = ZOO[name]()
    module = module.to(dtype)
    batch = batch.to(dtype) if batch.is_floating_point() else batch
    norms = GradientNorms(module)
    with using(costs):
        norms(losses(batch))
        return norms(losses(batch)), norms.measure(losses(batch)).bound


MODELS = [
    "convolutions_1d_3d",
    "convolutions_2d",
    "diffusers_unet",
    "gpt2",
    "many_channels_on_few_pixels",
    "tied_weights",
    "transformer_time_first",
    "wide_layer_on_few_rows",
]


@pytest.fixture
def all_chosen(monkeypatch):
    """Choose a form for the smallest tensors as well."""
    monkeypatch.setattr("fimetric.gradients.columns.SMALL", 0)


@pytest.mark.parametrize("name", MODELS)
def test_values_do_not_depend_on_the_choice(name, taken, all_chosen):
    (gram, bound), by_gram = read(name, GRAM), taken["norms_by_gram"] + taken["norms_by_pixels"]
    taken.clear()
    direct, _ = read(name, DIRECT)
    assert by_gram > taken["norms_by_gram"] + taken["norms_by_pixels"] == 0
    assert ((gram - direct).abs() <= AGREE * direct + bound).all()


@pytest.mark.parametrize("name", ["diffusers_unet", "gpt2", "many_channels_on_few_pixels"])
def test_the_same_costs_give_the_same_bits(name, all_chosen):
    found = {costs: read(name, costs)[0] for costs in (GRAM, DIRECT, FIXED)}
    assert not torch.equal(found[GRAM], found[DIRECT])
    for costs, table in found.items():
        assert torch.equal(read(name, costs)[0], table)


def test_terms_that_cancel_as_far_as_is_trusted():
    """There a Gram form has lost the most digits."""
    T, signs = 128, torch.tensor([1.0, -1.0]).repeat(64)[:, None]
    common, own = torch.randn(2, 50, 1, 40), 0.2 * torch.randn(2, 50, T, 40)
    u, v = common[0] * signs + own[0], common[1] + own[1]
    layer = Factors(u, v)
    exact = Factors(u.double(), v.double()).squared_norms()
    share = exact / (u.double().square().sum(2) * v.double().square().sum(2)).sum(1)
    assert (share < 1.2 * TRUSTED).any() and (share > TRUSTED).any()
    for costs in (GRAM, DIRECT):
        with using(costs):
            torch.testing.assert_close(layer.squared_norms().double(), exact, rtol=AGREE, atol=0)


@pytest.mark.parametrize(
    ("costs", "form"),
    [
        (GRAM, "norms_by_pixels"),
        (Costs(calls=1e30, grouped=1.2), "norms_by_groups"),
        (Costs(calls=1e30, grouped=1.3), "norms_unfolded"),
        (FIXED, "norms_by_groups"),
    ],
)
def test_a_convolution_takes_the_form_that_costs_name(costs, form, taken):
    with using(costs):
        convolution().squared_norms()
    assert taken == {form: 1}


@pytest.mark.parametrize(
    ("costs", "by_gram"),
    [
        # saved: 4 (30 * 20 (6 + m) - g 6 * 6 (30 + 20 + m)), here 4 (600 * 38 - 0.75 * 36 * 82)
        (Costs(calls=82_000), True),
        (Costs(calls=83_000), False),
        (Costs(calls=0, gram=7.7), True),
        (Costs(calls=0, gram=7.8), False),
        (Costs(calls=10_000, memory_pass=1), True),
        (Costs(calls=12_000, memory_pass=1), False),
    ],
)
def test_a_matrix_takes_the_form_that_saves_more_than_its_calls(costs, by_gram, taken):
    with using(costs):
        Factors(torch.randn(4, 6, 30), torch.randn(4, 6, 20)).squared_norms()
    assert taken["norms_by_gram"] == by_gram


def test_costs_hold_inside_the_block_and_in_its_thread():
    assert used() is None
    elsewhere = []
    with using(GRAM):
        with using(DIRECT):
            assert used() == DIRECT
        assert used() == GRAM
        thread = threading.Thread(target=lambda: elsewhere.append(used()))
        thread.start()
        thread.join()
        with pytest.raises(KeyError), using(DIRECT):
            raise KeyError
        assert used() == GRAM
    assert used() is None and elsewhere == [None]


def test_a_table_is_chosen_by_the_costs_of_who_asked_for_it(taken):
    """On a GPU contributions come in threads of the device's own."""
    with using(GRAM):
        columns = Columns(torch.zeros(4, 1))
    thread = threading.Thread(target=columns.take, args=(0, convolution()))
    thread.start()
    thread.join()
    assert taken == {"norms_by_pixels": 1}


def test_costs_are_restored_from_their_numbers():
    assert restored({"memory_pass": 2, "calls": 3, "gram": 4, "grouped": 5}) == Costs(2, 3, 4, 5)
    assert restored(None) == FIXED
