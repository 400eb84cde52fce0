import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from fimetric.benchmark.page import averages, write_page
from fimetric.benchmark.results import Comparison, Curves, Ranked

WEIRD = """<b>&"'</script><!--<script>{{data}}\u2028"""
ONE = Comparison("a-vae", "vae", 0, "a", "b", "far", "m0", 1, "random", 0.9, 0.85, 0.95, 300, 200)
RANDOM = np.random.default_rng(0)
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


def rows():
    """Two families, methods and sizes, and a name that would break a careless page."""
    found = [
        replace(ONE, model=f"a-{f}", family=f, method=m, group_size=n, auroc=0.9 - 0.01 * k)
        for k, (f, m, n) in enumerate(
            (f, m, n) for f in ("vae", "glow") for m in ("m0", WEIRD) for n in (1, 5)
        )
    ]
    return [*found, replace(ONE, other="a, pale", distance="near", auroc=0.45)]


def scores(comparison):
    own = RANDOM.normal(size=comparison.own_groups)
    other = RANDOM.normal(2, 1, comparison.other_groups)
    return Curves(own, np.append(other, np.inf))


def ranked(name=WEIRD):
    grey = RANDOM.integers(0, 256, (8, 8), dtype=np.uint8)
    colour = RANDOM.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Ranked("a-vae", name, "m0", ("7", name), (grey, colour), (np.inf, -1.5))


@pytest.fixture
def page(tmp_path):
    picture = tmp_path / "matrix.png"
    Image.new("RGB", (4, 4)).save(picture)
    path = tmp_path / "page.html"
    curves = {c.key: scores(c) for c in rows()[:-1]}  # the last was not kept
    write_page(
        rows(),
        averages(rows()),
        curves,
        [ranked()],
        [f"Note {WEIRD}"],
        {f"AUROC {WEIRD}": picture},
        path,
    )
    return path


class Elements(HTMLParser):
    """Collects the elements, their attributes, and the JSON."""

    def __init__(self, text):
        super().__init__()
        self.found, self.data, self.inside = [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.inside = ("id", "data") in attrs

    def handle_data(self, data):
        self.data += data if self.inside else ""

    def handle_endtag(self, tag):
        self.inside = False


def test_everything_is_embedded_and_nothing_is_loaded(page):
    text = page.read_text(encoding="utf-8")
    assert "http://" not in text and "https://" not in text
    for tag, attributes in Elements(text).found:
        assert tag not in {"iframe", "object", "embed", "base", "form"}
        assert "src" not in attributes and "style" not in attributes
        assert attributes.get("href", "#").startswith(("#", "data:"))
    assert "@import" not in text and "url(" not in text
    policy = POLICY.search(text)[0]
    assert "default-src 'none'" in policy and "unsafe" not in policy


def test_the_data_are_what_was_found(page):
    data = json.loads(Elements(page.read_text(encoding="utf-8")).data)
    table = data["comparisons"]
    assert len(table["rows"]) == len(rows())
    assert Comparison(**dict(zip(table["keys"], table["rows"][2], strict=True))) == rows()[2]
    assert len(data["averages"]["rows"]) == len(averages(rows()))
    assert [curve is None for curve in data["curves"]] == [False] * 8 + [True]
    assert data["curves"][0]["other"][-1] == 1  # infinite
    (samples,) = (entry["samples"] for entry in data["ranked"])
    assert [(s["id"], s["score"]) for s in samples] == [("7", "∞"), (WEIRD, "-1.5")]
    sources = [*(s["source"] for s in samples), *(p["source"] for p in data["pictures"])]
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert data["notes"] == [f"Note {WEIRD}"]


def test_a_name_cannot_leave_the_data(page):
    text = page.read_text(encoding="utf-8")
    assert text.count("</script>") == 2
    assert WEIRD not in text and "<b>&" not in text
    assert [tag for tag, _ in Elements(text).found].count("script") == 2


def test_four_thousand_comparisons_fit_into_ten_megabytes(tmp_path):
    many = [replace(ONE, model="a" * 20, other=f"a set, the {k}th") for k in range(100)]
    write_page(
        many, averages(many), {c.key: scores(c) for c in many}, [], [], {}, tmp_path / "many.html"
    )
    write_page([], [], {}, [], [], {}, tmp_path / "none.html")
    size, rest = ((tmp_path / f"{name}.html").stat().st_size for name in ("many", "none"))
    assert rest + 40 * (size - rest) < 10e6


def test_another_kind_of_picture_and_nan_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no picture for a page; pass one of \.png"):
        write_page([ONE], [], {}, [], [], {"x": tmp_path / "x.pdf"}, tmp_path / "page.html")
    curves = {ONE.key: Curves(np.array([np.nan]), np.zeros(3))}
    with pytest.raises(ValueError, match=r"a-vae.*nan"):
        write_page([ONE], [], curves, [], [], {}, tmp_path / "page.html")


def opened(path):
    """Return the page as headless Chromium leaves it, once its script has run without a fault."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip(f"no browser to open the page with: none of {', '.join(names)} is on PATH")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    options += [f"--user-data-dir={path.parent / 'profile'}", "--virtual-time-budget=5000"]
    options += ["--enable-logging=stderr", "--v=0", "--dump-dom"]
    done = subprocess.run(
        [browser, *options, path.as_uri()], capture_output=True, timeout=120, check=True
    )
    said = done.stderr.decode(errors="replace")
    assert "CONSOLE" not in said, said
    text = done.stdout.decode()
    start = Elements(text).found[0]
    assert start == ("html", {"lang": "en", "data-ready": "true"})  # and no data-error
    return text


def body_rows(text, section):
    """The cells of the table of a section, as the browser writes them."""
    inside = text.split(f'<section id="{section}"')[1].split("</section>")[0]
    body = inside.split("<tbody>")[1].split("</tbody>")[0]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in body.split("</tr>")[:-1]]
    return [[re.sub("<[^>]*>", "", cell) for cell in row] for row in cells]


def test_a_browser_fills_the_page_in(page):
    text = opened(page)
    table = body_rows(text, "comparisons")
    assert len(table) == len(rows())
    assert table[0][:3] == ["a-vae", "a", "b"] and "0.900" in table[0]
    shown = body_rows(text, "averages")
    assert len(shown) == 2  # of far sets, over all families, single samples
    tags = Elements(text).found
    assert [tag for tag, _ in tags].count("b") == 3  # the template's
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert len(images) == 3 and all(a["alt"] and a["src"].startswith("data:") for a in images)
    assert [tag for tag, _ in tags].count("polyline") == 1
    assert "infinite</text>" in text and "false positive rate</text>" in text


def act(page, script):
    """Return the page after a reader's acts, which its policy would not let a script do."""
    text = POLICY.sub("", page.read_text(encoding="utf-8"))
    found = 'const all = (s) => [...document.querySelectorAll("#comparisons " + s)];'
    acted = page.with_name("acted.html")
    acted.write_text(text.replace("</body>", f"<script>{found}{script}</script></body>"))
    return opened(acted)


def test_a_heading_sorts_and_says_so(page):
    text = act(page, 'all("thead button").find((b) => b.textContent === "AUROC").click();')
    values = [next(c for c in row if re.fullmatch(r"\d\.\d{3}", c)) for row in
              body_rows(text, "comparisons")]  # fmt: skip
    assert values == sorted(values, reverse=True) and len(values) == len(rows())
    assert text.count('scope="col" aria-sort="descending"') == 1


def test_a_filter_keeps_what_matches_and_a_row_shows_its_curves(page):
    text = act(
        page,
        """const list = all("select[data-key=distance]")[0];
        list.value = [...list.options].find((o) => o.textContent === "near").value;
        list.dispatchEvent(new Event("change"));
        all("tbody button")[0].click();""",
    )
    assert len(body_rows(text, "comparisons")) == 1
    assert "a-vae: a → a, pale (near)</h3>" in text
    assert "AUROC 0.450 [0.850, 0.950]. Its scores were not kept." in text
    assert text.count('aria-pressed="true"') == 1
