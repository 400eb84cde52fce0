from fimetric.detectors import DEFAULT
from fimetric.evaluation.verdicts import verdicts
from fimetric.metrics import Estimate
from fimetric.report.tables import Row


def row(ood, size, detector, auroc, half=0.01):
    return Row(ood, size, detector, Estimate(auroc, auroc - half, auroc + half), *[None] * 2)


def test_losses_and_paradoxes_are_said():
    rows = [
        row("mnist", 1, "likelihood", 0.1),
        row("mnist", 1, "typicality", 0.9),
        row("mnist", 1, DEFAULT, 0.8),
        row("faces", 5, "likelihood", 0.6),
        row("faces", 5, "typicality", 0.95, 0.1),
        row("faces", 5, DEFAULT, 0.99, 0.1),
    ]
    paradox, loss, win = verdicts(rows)
    assert "mnist, groups of 1: the likelihood, or the loss that" in paradox
    assert "MORE likely" in paradox
    assert "LOSES to typicality" in loss
    assert "clear" in loss
    assert "faces, groups of 5: the default (balanced-neighbours) beats typicality" in win
    assert "within the intervals" in win


def test_one_detector_alone_says_nothing():
    assert verdicts([row("mnist", 1, DEFAULT, 0.8)]) == []


def test_a_density_that_is_not_the_default_is_not_judged_as_ours():
    rows = [row("mnist", 1, "typicality", 0.7), row("mnist", 1, "layerwise-gaussian", 0.8)]
    assert verdicts(rows) == []
    [said] = verdicts([*rows, row("mnist", 1, DEFAULT, 0.6)])
    assert "LOSES to typicality (0.600" in said
