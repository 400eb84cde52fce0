"""What a detector remembers of its model, and what it takes to open that again."""

import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fimetric import Detector, models
from fimetric.data import load
from fimetric.detection import remembered as module
from fimetric.detection.opening import open_detector
from fimetric.detection.saved import KIND, read
from fimetric.objectives import from_pretrained, standard_objective
from sealed import reseal

DIGITS = load("digits", limit=40)
ASKED = {"seed": 3, "parameters": ["decoder.*"]}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
OWN = """
import torch
from pathlib import Path
from fimetric.objectives import Objective

Path(__file__).with_name("ran").touch()

def flow():
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 3)
    return Objective(lambda x: (net(x) - x).square().sum(1), net, name="reconstruction")
"""


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A folder ``home`` with a model M and a detector D in a folder of its own."""
    home = tmp_path / "home"
    models.save(models.build("vae", "tiny", DIGITS.shape), home / "M")
    monkeypatch.chdir(home)
    Detector(from_pretrained("M", **ASKED)).fit(DIGITS).save("kept/D")
    return home


@pytest.fixture
def own(home) -> Path:
    """The same, with a detector ``own`` of a function in own.py, which leaves ``ran`` behind."""
    (home / "own.py").write_text(OWN)
    table = torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
    Detector(from_pretrained("own.py:flow")).fit(table).save("own")
    (home / "ran").unlink()
    return home


def test_a_detector_opens_its_model_again_with_all_that_was_asked(home):
    again, given = Detector.load("kept/D"), from_pretrained("M", **ASKED)
    np.testing.assert_array_equal(again.score(DIGITS), Detector.load("kept/D", given).score(DIGITS))
    assert again.objective.seed == 3
    assert again.objective.opened == given.opened
    trained = [n for n, p in again.objective.module.named_parameters() if p.requires_grad]
    assert trained and all(name.startswith("decoder.") for name in trained)


def test_both_can_be_moved_together_and_nothing_says_where_they_were(home, tmp_path):
    assert str(tmp_path) not in Path("kept/D/detector.json").read_text()
    before = Detector.load("kept/D").score(DIGITS)
    home.rename(tmp_path / "away")
    os.chdir(tmp_path)
    np.testing.assert_array_equal(Detector.load("away/kept/D").score(DIGITS), before)
    (tmp_path / "link").symlink_to(tmp_path / "away" / "kept" / "D")
    np.testing.assert_array_equal(Detector.load("link").score(DIGITS), before)


def test_a_model_that_moved_or_changed_is_told_and_can_be_named(home):
    before = Detector.load("kept/D").score(DIGITS)
    (home / "M").rename(home / "N")
    with pytest.raises(FileNotFoundError, match=r"not at .*/home/M, where it was.*--model"):
        Detector.load("kept/D")
    named, shape = open_detector(Path("kept/D"), "N")
    np.testing.assert_array_equal(named.score(DIGITS), before)
    assert shape == DIGITS.shape
    models.save(models.build("vae", "tiny", DIGITS.shape, seed=1), home / "M")
    with pytest.raises(ValueError, match="fitted with another model"):
        Detector.load("kept/D")


def test_a_detector_of_an_objective_made_by_hand_asks_for_it(home):
    objective = standard_objective(models.load("M"), seed=5)
    Detector(objective).fit(DIGITS).save("hand")
    assert read(home / "hand")[0].opened is None
    with pytest.raises(ValueError, match=r"made by hand, or by an earlier release.*objective="):
        Detector.load("hand")
    named, _ = open_detector(Path("hand"), "M")  # with the settings and the seed that it kept
    np.testing.assert_array_equal(
        named.score(DIGITS), Detector.load("hand", objective).score(DIGITS)
    )


def test_a_detector_of_an_earlier_release_opens_as_before(home):
    reseal(Path("kept/D"), KIND, opened=None)
    assert "opened" not in Path("kept/D/detector.json").read_text()
    Detector.load("kept/D", from_pretrained("M", **ASKED))
    with pytest.raises(ValueError, match="earlier release"):
        Detector.load("kept/D")


def test_code_runs_only_where_it_is_named_again(own):
    for open_it in (lambda: Detector.load("own"), lambda: open_detector(Path("own"))):
        with pytest.raises(ValueError, match=r"own.py:flow, which is run where it is named again"):
            open_it()
    assert not (own / "ran").exists()
    open_detector(Path("own"), "own.py:flow")
    assert (own / "ran").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "../own.py:flow", "kind": "fimetric"}, "named again alone"),
        ({"source": "../own.py:flow", "commit": COMMIT}, "named again alone"),
        ({"source": "../M", "asked": {"trust_remote_code": True}, "code": True}, "--trust-remote"),
        ({"source": "../M", "asked": {"device": "cuda"}}, "damaged .its model was asked for devic"),
        ({"source": "../M", "asked": {"nonsense": 1}}, "damaged .its model was asked for nonsens"),
        ({"source": "../M", "asked": {"base": 3}}, "damaged .the base of its model is 3"),
        ({"source": 3}, "damaged"),
        ({"shape": "x"}, "damaged"),
    ],
)
def test_a_detector_edited_by_a_hostile_hand_runs_nothing(own, fields, message):
    opened = {"kind": "python", "source": "../M", "commit": None, "asked": {}, "shape": None}
    reseal(Path("own"), KIND, opened=opened | {"code": False} | fields)
    with pytest.raises(ValueError, match=message):
        Detector.load("own")
    assert not (own / "ran").exists()


def test_trust_is_given_anew_each_time(home, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "from_pretrained", lambda source, **told: asked.append(told))
    kept = read(home / "kept" / "D")[0]
    kept.opened = replace(kept.opened, asked={"trust_remote_code": True}, code=True)
    folder = home / "kept" / "D"
    module.named_again(folder, kept, "M")
    module.reopened(folder, kept, trust_remote_code=True)
    assert [told["trust_remote_code"] for told in asked] == [False, True]


def test_the_base_of_an_adapter_moves_along(home, tmp_path, monkeypatch):
    objective = from_pretrained("M")
    objective.opened = replace(objective.opened, asked={"base": str(home / "base")})
    kept = module.remembered(objective, "kept/D")
    assert (kept.source, kept.asked) == ("../../M", {"base": "../../base"})
    (home / "base").mkdir()
    home.rename(tmp_path / "away")
    folder = tmp_path / "away" / "kept" / "D"
    assert module._asked(folder, kept, None) == {"base": str(tmp_path / "away" / "base")}
    assert module._asked(folder, kept, "other") == {"base": "other"}
    for named in ("owner/base", f"owner/base@{COMMIT}"):
        hub = replace(kept, asked={"base": named})
        assert module._asked(folder, hub, None) == {"base": named}
    (tmp_path / "away" / "base").rmdir()  # still seen from the detector, not from elsewhere
    assert module._asked(folder, kept, None) == {"base": str(tmp_path / "away" / "base")}


@pytest.fixture
def hub(home, monkeypatch) -> tuple[Path, list]:
    """A cache of the hub that holds owner/model at one commit, and what asked for a socket."""
    snapshot = home / "hub" / "models--owner--model" / "snapshots" / COMMIT
    shutil.copytree(home / "M", snapshot)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)

    calls = []

    def refused(*args, **kwargs):
        calls.append(args)
        raise RuntimeError("no socket is opened here")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refused)
    return home / "hub", calls


def test_a_model_of_the_hub_is_opened_at_its_commit_without_the_network(hub):
    folder, calls = hub
    with module.here_alone():
        objective = from_pretrained("owner/model", revision=COMMIT)
    assert (objective.opened.source, objective.opened.commit) == ("owner/model", COMMIT)
    Detector(objective).fit(DIGITS).save("of-hub")
    again = Detector.load("of-hub")
    assert again.objective.opened == objective.opened
    shutil.rmtree(folder)
    with pytest.raises(
        FileNotFoundError, match=rf"no copy of owner/model at commit {COMMIT}.*revision='{COMMIT}'"
    ):
        Detector.load("of-hub")
    assert calls == []
    with pytest.raises(FileNotFoundError, match="no path, and the hub did not give it"):
        from_pretrained("owner/model", revision=COMMIT)
    assert calls != []  # so the test would have told
