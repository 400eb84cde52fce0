const SVG = document.querySelector("svg").namespaceURI;

function draw(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function label(x, y, text, anchor = "middle", more = {}) {
  return draw("text", { x, y, "text-anchor": anchor, ...more }, text);
}

/** The title of a vertical axis. */
function upright(x, y, text) {
  return label(x, y, text, "middle", { transform: `rotate(-90 ${x} ${y})` });
}

function line(x1, y1, x2, y2, kind) {
  return draw("line", { x1, y1, x2, y2, class: kind });
}

/** A step of 1, 2 or 5 times a power of ten that fits into `most` about `count` times. */
function niceStep(most, count) {
  const power = 10 ** Math.floor(Math.log10(most / count));
  return [1, 2, 5, 10].map((k) => k * power).find((step) => step * count >= most * 0.999);
}

/** How many bins the axis has: one below it comes first, those above it and at infinity last. */
const axisBins = (curve) => curve.own.length - 3;

/** The bars as [left, right, share], the bins of the axis between x0 and x1 and the others beside. */
function bars(counts, places, bins) {
  const total = counts.reduce((a, b) => a + b, 0);
  const width = (places.x1 - places.x0) / bins;
  return counts.map((count, k) => {
    const left = k > 0 && k <= bins ? places.x0 + (k - 1) * width : places[k];
    return [left, left + (k > 0 && k <= bins ? width : 30), count / total];
  });
}

/** An outline of neighbouring bars from the base up and back. */
function outline(some, base, height) {
  const steps = some.map(([left, right, share]) => `L${left} ${height(share)}H${right}`).join("");
  return `M${some[0][0]} ${base}${steps}V${base}`;
}

function histogram(svg, curve, judged) {
  const [base, top] = [266, 12];
  const bins = axisBins(curve);
  const used = (k) => curve.own[k] + curve.other[k] > 0;
  const places = { x0: used(0) ? 108 : 62, x1: 630, 0: 62 };
  for (const k of [bins + 2, bins + 1]) if (used(k)) places[k] = (places.x1 -= 54) + 16;
  const sides = [["own", bars(curve.own, places, bins)], ["other", bars(curve.other, places, bins)]];
  const most = Math.max(...sides.flatMap(([, some]) => some.map((bar) => bar[2])));
  const height = (share) => Number((base - (base - top) * (share / most)).toFixed(2));
  svg.replaceChildren();
  const step = niceStep(most, 6);
  for (let k = 0; k * step <= most * 1.0001; k++) {
    const y = height(k * step);
    svg.append(line(62, y, 630, y, "grid"));
    svg.append(label(56, y + 4, Number((k * step).toPrecision(3)), "end"));
  }
  for (const [side, some] of sides) {
    const group = draw("g", { class: side });
    group.append(draw("path", { d: outline(some.slice(1, bins + 1), base, height) }));
    for (const k of [0, bins + 1, bins + 2].filter(used)) {
      group.append(draw("path", { d: outline([some[k]], base, height) }));
    }
    svg.append(group);
  }
  scoreAxis(svg, curve, places, base, used);
  svg.append(upright(16, (base + top) / 2, `share of ${judged}`));
}

function scoreAxis(svg, curve, places, base, used) {
  svg.append(line(places.x0, base, places.x1, base, "axis"));
  for (const [place, text] of curve.ticks) {
    const x = places.x0 + place * (places.x1 - places.x0);
    svg.append(line(x, base, x, base + 5, "axis"), label(x, base + 19, text.replaceAll("-", "−")));
  }
  const bins = axisBins(curve);
  const beside = [[0, "below"], [bins + 1, "above"], [bins + 2, "infinite"]];
  for (const [k, text] of beside.filter(([k]) => used(k))) {
    const x = places[k];
    svg.append(line(x, base, x + 30, base, "axis"), label(x + 15, base + 19, text));
  }
  const title = `score${curve.wide ? ", asinh scale" : ""} (right = more anomalous)`;
  svg.append(label((places.x0 + places.x1) / 2, base + 42, title));
}

function rocCurve(svg, curve) {
  const [left, right, top, base] = [52, 308, 12, 268];
  const x = (rate) => left + (right - left) * rate;
  const y = (rate) => base - (base - top) * rate;
  svg.replaceChildren();
  for (const rate of [0, 0.25, 0.5, 0.75, 1]) {
    svg.append(line(x(rate), base, x(rate), top, "grid"));
    svg.append(line(left, y(rate), right, y(rate), "grid"));
    svg.append(label(x(rate), base + 18, rate), label(left - 6, y(rate) + 4, rate, "end"));
  }
  svg.append(line(x(0), y(0), x(1), y(1), "axis"));
  const points = [];
  for (let k = 0; k < curve.roc.length; k += 2) {
    points.push(`${x(curve.roc[k] / 1000)},${y(curve.roc[k + 1] / 1000)}`);
  }
  svg.append(draw("polyline", { points: points.join(" "), class: "curve" }));
  svg.append(label((left + right) / 2, base + 42, "false positive rate"));
  svg.append(upright(14, (base + top) / 2, "true positive rate"));
}
