import csv
import io

from rich.console import Console

from fimetric.metrics import Estimate
from fimetric.report.tables import Row, markdown, show, write_csv

E = Estimate
ROWS = [
    Row(
        "a_data_set_with_a_long_name",
        1,
        "a",
        *[E(0.1234, 0.1, 0.2), E(0.5, 0.4, 0.6)] * 1,
        E(1, 1, 1),
    ),
    Row("a_data_set_with_a_long_name", 1, "b", E(0.9, 0.8, 1.0), E(0.5, 0.4, 0.6), E(0.25, 0, 1)),
    Row("other", 5, "a", E(0.3, 0.2, 0.4), E(0.5, 0.4, 0.6), E(0.25, 0, 1)),
]


def test_a_narrow_screen_loses_no_digit():
    console = Console(file=io.StringIO(), width=40)
    show(ROWS, "title", console)
    said = console.file.getvalue()
    assert "…" not in said
    for row in ROWS:
        for cell in row.cells():
            assert cell in said


def test_markdown_marks_the_best_of_each_pair_and_says_which_class_is_positive():
    lines = markdown(ROWS).splitlines()
    assert [line.count("**") for line in lines[2:5]] == [0, 2, 2]
    assert "OOD is the positive class" in lines[-1]


def test_csv_has_all_digits(tmp_path):
    write_csv(ROWS, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["ood"] for row in rows] == [row.ood for row in ROWS]
    assert float(rows[0]["auroc"]) == 0.1234
    assert float(rows[2]["fpr_at_95_tpr_high"]) == 1
