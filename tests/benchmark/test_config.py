"""A grid is checked before any work: every mistake is named."""

from dataclasses import fields
from pathlib import Path

import pytest

from fimetric.benchmark.cases import cases
from fimetric.benchmark.config import TIERS, Grid, read
from fimetric.benchmark.kinds import TABLES
from fimetric.benchmark.methods import METHODS
from fimetric.benchmark.own import Foreign, Own, Trained
from fimetric.benchmark.run import arrangements, wanted_by
from fimetric.benchmark.tried import methods_of
from fimetric.models import FAMILIES

GOOD = """
held_out = 400
samples = 100
costly_samples = 40
[families.vae]
config = "tiny"
steps = 10
seeds = [0, 1, 2]
[[sets]]
data = "digits"
far = ["letters"]
near = ["patches"]
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "grid.toml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("tier", TIERS)
def test_every_tier_is_a_grid(tier):
    grid = read(tier)
    assert grid.name == tier
    families = {"vae", "glow", "diffusion"} | (
        {"pixelcnn", "flow-matching"} if tier != "smoke" else set()
    )
    assert {case.trained.kind for case in cases(grid)} == families


def test_the_cpu_tier_is_what_was_fixed_beforehand():
    grid = read("cpu")
    assert {own.data: (own.far, own.near) for own in grid.sets} == {
        "fashion_mnist": (("mnist", "omniglot", "lfw_faces_grey"), ()),
        "mnist": (("fashion_mnist", "lfw_faces_grey"), ("omniglot",)),
        "cifar10": (("gtsrb",), ("tiny_imagenet32",)),
        "gtsrb": (("cifar10", "tiny_imagenet32"), ()),
    }
    assert grid.group_sizes == (1, 5, 20)
    assert grid.looks == ("rotated", "flipped", "blurred", "noisy", "pale")


def test_a_file_is_read_and_families_are_inherited(write):
    grid = read(write(GOOD))
    (own,) = grid.sets
    assert own.models[0].seeds == (0, 1, 2) and own.models[0].steps == 10
    named = [case.name for case in cases(grid)]
    assert named == ["digits-vae", "digits-vae-1", "digits-vae-2"]
    special = read(write(GOOD + "[sets.models]\nvae = { steps = 7 }\nglow = { config = 'tiny' }\n"))
    assert [m.steps for m in special.sets[0].models] == [7, 5000]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("samples", "sample"), "no setting 'sample'; there are sets, held_out"),
        (("samples = 100", "samples = 1.5"), "Expected `int`, got `float` - at `$.samples`"),
        (("samples = 100", "samples = true"), "Expected `int`, got `bool` - at `$.samples`"),
        (
            ("held_out", "group_sizes = 5\nheld_out"),
            "Expected `array`, got `int` - at `$.group_sizes`",
        ),
        (
            ('far = ["letters"]', 'far = "letters"'),
            "digits: Expected `array`, got `str` - at `$.far`",
        ),
        (('far = ["letters"]', 'far = ["rotated"]'), "a set cannot be called 'rotated'"),
        (('far = ["letters"]', 'far = ["test"]'), "a set cannot be called 'test'"),
        (("[[sets]]", "[sets]"), "sets must be tables of their own, each under [[sets]]"),
        (("[families.vae]", "families = 3\n[other]"), "families must be a table with a table for"),
        (("steps = 10", "steps = -5"), "vae: steps, batch_size and validate_every start at 1"),
        (('"tiny"', '"huge"'), "vae has no config 'huge'; there are tiny, small, paper"),
        (('"tiny"', "{ width = 3 }"), "vae has no config 'width'; there are channels, latent"),
        (("held_out", "methods = []\nheld_out"), "methods names none"),
        (("held_out", 'figure = ["waic", "msma-mixture", "waic"]\nheld_out'), "one or two of the"),
        (("held_out", 'methods = ["waic"]\nfigure = ["likelihood"]\nheld_out'), "one or two of"),
        (("held_out", "group_sizes = [1, 5, 5]\nheld_out"), "group_sizes names one twice"),
        (('near = ["patches"]', 'alike = "("'), "digits: alike is no pattern"),
        (('"tiny"', '"tiny"\nlr = 1'), "sets: digits: vae has no setting 'lr'"),
        (("families.vae", "families.gan"), "unknown family 'gan'; there are vae, glow, diffusion"),
        (("[0, 1, 2]", "[0, 0]"), "seeds of vae must be different numbers"),
        (('"patches"', '"letters"'), "digits: a set is named twice"),
        (('far = ["letters"]', ""), "sets: digits: Object missing required field `far`"),
        (("samples = 100", "samples = 300"), "at most half of held_out=400"),
        (("costly_samples = 40", "costly_samples = 101"), "must be at most samples=100"),
        (
            ("held_out = 400", "group_sizes = [1, 20]\nheld_out = 100"),
            "groups of 20 need at least 40 samples to fit and to test on; there are 25, a quarter "
            "of held_out=100, and costly_samples=40: raise these, or take 20 out of group_sizes",
        ),
        (("held_out", "fewest = 101\nheld_out"), "samples=100; group_sizes are (1, 5, 20)"),
        (("costly_samples = 40", "costly_samples = 9\nconsecutive = [5]"), "group_sizes are (1,)"),
        (("held_out", 'methods = ["magic"]\nheld_out'), "no method 'magic'; there are fimetric"),
        (("held_out", 'looks = ["melted"]\nheld_out'), "no look 'melted'; there are rotated"),
        (("held_out", "group_sizes = [5]\nheld_out"), "must be positive and hold 1"),
        (("held_out", "consecutive = [7]\nheld_out"), "must be group sizes above 1"),
        (("[[sets]]", "[[sets"), "grid.toml: "),
    ],
)
def test_mistakes_are_named(write, change, message):
    with pytest.raises(ValueError, match=r"grid.toml: ") as caught:
        read(write(GOOD.replace(*change, 1)))
    assert message in str(caught.value)


SHORT = """
[families.vae]
[[sets]]
data = "digits"
far = ["letters"]
"""


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", {"samples": 500, "costly_samples": 200, "group_sizes": (1, 5, 20)}),
        ("samples = 60", {"costly_samples": 60, "group_sizes": (1, 5, 20)}),
        ("samples = 39", {"costly_samples": 39, "group_sizes": (1, 5)}),
        ("held_out = 30", {"samples": 16, "costly_samples": 16, "group_sizes": (1,)}),
        ("fewest = 4", {"samples": 500, "group_sizes": (1,)}),
        ("fewest = 5", {"fewest": 5, "group_sizes": (1, 5)}),
        ("costly_samples = 10", {"samples": 500, "group_sizes": (1, 5)}),
        ("", {"figure": ("typicality", "fimetric")}),
        ('methods = ["fimetric", "waic", "scoped"]', {"figure": ("waic", "fimetric")}),
        ('methods = ["waic", "scoped", "loudness"]', {"figure": ("waic", "scoped")}),
        ('methods = ["waic"]', {"figure": ("waic",)}),
        ('methods = ["waic", "scoped"]\nfigure = ["scoped"]', {"figure": ("scoped",)}),
    ],
)
def test_what_nobody_wrote_follows_what_was_written(write, written, expected):
    grid = read(write(f"{written}\n{SHORT}"))
    assert {name: getattr(grid, name) for name in expected} == expected


def test_methods_are_named_where_they_are_written(write):
    assert not read(write(SHORT)).named
    assert read(write(f'methods = ["waic"]\n{SHORT}')).named


@pytest.mark.parametrize(("kind", "title"), [
    (Grid, "setting of the file"), (Own, "setting of a set"), (Trained, "setting of a model"),
])  # fmt: skip
def test_the_guide_has_a_line_for_every_setting(kind, title):
    guide = (Path(__file__).parents[2] / "docs" / "guide.md").read_text(encoding="utf-8")
    table = guide.partition(f"| {title} |")[2].partition("\n\n")[0].splitlines()[2:]
    named = {name.strip(" `") for line in table for name in line.split("|")[1].split(",")}
    own = {"kind"} if kind is Trained else {"name"} if kind is Grid else set()
    read_apart = {"families"} if kind is Grid else set()
    assert named == {field.name for field in fields(kind)} - own | read_apart


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(ValueError, match=r"latin.toml: .*utf-8"):
        read(tmp_path / "latin.toml")


def test_no_file_and_no_tier():
    with pytest.raises(FileNotFoundError, match="tiers: smoke, cpu, paper"):
        read("nothing.toml")


def test_every_method_has_its_table_and_every_table_a_method():
    kinds = [*FAMILIES.values(), Foreign("a model of others", "texts")]
    used = {m.table_of(each) for m in METHODS.values() for each in kinds if m.fits(each)}
    assert used == set(TABLES)


def test_only_norms_of_gradients_have_joint_ones():
    for method in METHODS.values():
        assert not method.joint or method.table == "norms"


def test_methods_are_for_their_families_members_and_seeds(write):
    grid = read(write(GOOD))
    first, second, _ = cases(grid)
    assert "waic" in methods_of(first) and "waic" not in methods_of(second)
    assert {"likelihood", "typicality", "layerwise-gaussian", "fimetric"} == set(methods_of(second))
    assert "msma" not in methods_of(first) and "likelihood-regret" in methods_of(first)
    alone = read(write(GOOD.replace("[0, 1, 2]", "[0]")))
    assert "waic" not in methods_of(cases(alone)[0])


def test_joint_gradients_are_extracted_for_each_size_and_arrangement(write):
    grid = read(write(GOOD.replace("held_out", "consecutive = [5]\nheld_out", 1)))
    assert arrangements(grid) == [
        (1, "random"),
        (5, "random"),
        (20, "random"),
        (5, "consecutive"),
    ]
    second = cases(grid)[1]
    assert sorted(w.name for w in wanted_by(second)) == [
        "norms",
        "norms-joint-20-random",
        "norms-joint-5-consecutive",
        "norms-joint-5-random",
    ]
