// What goes wrong is written where a reader of the page's source, or a test, can find it.
const faults = document.documentElement.dataset;
window.addEventListener("error", (event) => { faults.error = event.message; });
document.addEventListener("securitypolicyviolation", (event) => {
  faults.error = event.violatedDirective;
});

const DATA = JSON.parse(document.getElementById("data").textContent);
const find = (selector) => document.querySelector(selector);
const fill = (place, ...children) => place.replaceChildren(...children);
const records = ({ keys, rows }) =>
  rows.map((row) => Object.fromEntries(keys.map((key, k) => [key, row[k]])));

const digits = (value) => value.toFixed(3);
const interval = (row) => `[${digits(row.low)}, ${digits(row.high)}]`;
const counts = (row) => `${row.own_groups} / ${row.other_groups}`;
const words = (key, name, more) => ({ key, name, filter: true, ...more });
const number = (key, name, more) => ({ key, name, number: true, ...more });
const auroc = (key, name) => number(key, name, { bar: true, shown: (row) => digits(row[key]) });

function showAverages(rows) {
  const smallest = Math.min(...rows.map((row) => row.group_size));
  new DataTable(find("#averages .table"), [
    words("method", "method"),
    words("family", "family", { start: "all" }),
    words("distance", "distance", { start: "far" }),
    number("group_size", "group size", { filter: true, start: smallest }),
    words("arrangement", "arrangement"),
    auroc("mean", "average"),
    auroc("lower", "lower quartile"),
    auroc("upper", "upper quartile"),
    auroc("worst", "worst"),
    words("where", "worst pair", { filter: false }),
    number("pairs", "pairs"),
  ], rows);
}

function showComparisons(rows) {
  rows.forEach((row, k) => { row.curve = DATA.curves[k]; });
  new DataTable(find("#comparisons .table"), [
    words("model", "model", { filter: false }),
    words("own", "own set"),
    words("other", "foreign set"),
    words("distance", "distance"),
    words("method", "method"),
    number("group_size", "group size", { filter: true }),
    words("arrangement", "arrangement"),
    auroc("auroc", "AUROC"),
    number("low", "95% interval", { shown: interval }),
    number("own_groups", "groups, own / foreign", { shown: counts }),
    words("family", "family"),
    number("seed", "seed", { filter: true }),
  ], rows, { onChoose: showCurves });
}

function showCurves(row) {
  const place = find(".selected");
  const say = (selector, text) => { place.querySelector(selector).textContent = text; };
  const single = row.group_size === 1;
  const groups = single ? "single samples" : `${row.arrangement} groups of ${row.group_size}`;
  say("h3", `${row.model}: ${row.own} → ${row.other} (${row.distance})`);
  say(".facts", `${row.method}, ${groups}: AUROC ${digits(row.auroc)} ${interval(row)}` +
    (row.curve ? "" : ". Its scores were not kept."));
  for (const part of [".legend", ".plots"]) place.querySelector(part).hidden = !row.curve;
  if (!row.curve) return;
  say(".legend .own span", `${row.own}, own (${row.own_groups})`);
  say(".legend .other span", `${row.other}, foreign (${row.other_groups})`);
  say("figcaption", "Share of each set in bins common to both. Below and above: beyond the lower " +
    "and the higher of the sets’ 1% and 99% quantiles." +
    (row.curve.wide ? " The axis is linear about the own set and logarithmic far from it." : ""));
  histogram(place.querySelector(".histogram"), row.curve, single ? "samples" : "groups");
  rocCurve(place.querySelector(".roc"), row.curve);
}

/** Lists of models, sets and methods, each of what there is with the choices before it. */
function showSamples() {
  const names = ["model", "set", "method"];
  const place = find("#samples .filters");
  const choose = (depth, wanted) => {
    let left = DATA.ranked;
    const labels = names.map((name, k) => {
      const values = [...new Set(left.map((entry) => entry[name]))];
      const list = chooser(name, name, values, false, () => {
        const now = [...wanted.slice(0, k), list.chosen(), ...wanted.slice(k + 1)];
        choose(k, now);
      });
      wanted[k] = values.includes(wanted[k]) ? wanted[k] : values[0];
      list.choose(wanted[k]);
      left = left.filter((entry) => entry[name] === wanted[k]);
      return list.label;
    });
    fill(place, ...labels);
    if (depth !== null) labels[depth].querySelector("select").focus();
    const half = Math.ceil(left[0].samples.length / 2);
    fill(find(".most"), ...left[0].samples.slice(0, half).map(image));
    fill(find(".least"), ...left[0].samples.slice(half).map(image));
  };
  choose(null, []);
}

function image(sample) {
  const picture = make("img", { src: sample.source, alt: `sample ${sample.id}` });
  return make("figure", {}, picture, make("figcaption", {}, `${sample.id}: ${sample.score}`));
}

function showPictures() {
  fill(find(".pictures"), ...DATA.pictures.map(({ caption, source }) =>
    make("figure", {}, make("img", { src: source, alt: caption }), make("figcaption", {}, caption))));
}

const notes = () => fill(find("#notes ul"), ...DATA.notes.map((note) => make("li", {}, note)));
const parts = {
  averages: [records(DATA.averages), showAverages],
  pictures: [DATA.pictures, showPictures],
  comparisons: [records(DATA.comparisons), showComparisons],
  samples: [DATA.ranked, showSamples],
  notes: [DATA.notes, notes],
};
for (const [name, [content, show]] of Object.entries(parts)) {
  if (content.length) show(content);
  document.getElementById(name).hidden = !content.length;
  find(`nav a[href="#${name}"]`).hidden = !content.length;
}
document.documentElement.dataset.ready = "true";
