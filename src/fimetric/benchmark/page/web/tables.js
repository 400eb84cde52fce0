"use strict";

/** An HTML element with attributes and children; a child that is a string is text, never HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function compare(a, b) {
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

/** A labelled list of values to choose from; `any` adds a first one that stands for all of them. */
function chooser(key, name, values, any, changed) {
  const select = make("select", { "data-key": key });
  if (any) select.append(make("option", { value: "" }, "all"));
  values.forEach((value, k) => select.append(make("option", { value: String(k) }, String(value))));
  select.addEventListener("change", changed);
  const chosen = () => (select.value === "" ? undefined : values[Number(select.value)]);
  const choose = (value) => {
    const k = values.indexOf(value);
    select.value = k < 0 ? "" : String(k);
  };
  return { label: make("label", {}, name, select), chosen, choose };
}

/**
 * A table that sorts by its headings and filters by lists above it.
 *
 * columns: [{ key, name: heading, number: bool, bar: bool, filter: bool,
 *             start: value of the filter, shown: record -> text }]
 * records: [{ key: value }]
 * onChoose: record -> nothing; with it a row is chosen by a click, or by the button in it.
 */
class DataTable {
  constructor(place, columns, records, { onChoose = null, step = 200 } = {}) {
    Object.assign(this, { columns, records, onChoose, step, limit: step });
    this.sorted = { key: null, sign: 1 };
    this.chosen = null;
    this.filters = this.#filters();
    this.count = make("p", { class: "count", role: "status" });
    this.body = make("tbody");
    this.more = make("button", { type: "button", class: "more" });
    this.more.addEventListener("click", () => this.#extend());
    this.heads = columns.map((column) => this.#head(column));
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...this.heads)), this.body);
    const scroll = make("div", { class: "scroll" }, table, this.more);
    place.append(this.#bar(), this.count, scroll);
    this.show();
  }

  /** One filter for each column that asks for it and has something to choose from. */
  #filters() {
    const found = [];
    for (const column of this.columns.filter((c) => c.filter)) {
      const values = [...new Set(this.records.map((r) => r[column.key]))].sort(compare);
      if (values.length < 2) continue;
      const filter = chooser(column.key, column.name, values, true, () => this.#refilter());
      if (column.start !== undefined) filter.choose(column.start);
      found.push({ key: column.key, ...filter });
    }
    return found;
  }

  #bar() {
    const reset = make("button", { type: "button" }, "Show all");
    reset.addEventListener("click", () => {
      for (const filter of this.filters) filter.choose(undefined);
      this.#refilter();
    });
    const labels = this.filters.map((filter) => filter.label);
    return make("div", { class: "filters" }, ...labels, ...(labels.length ? [reset] : []));
  }

  #head(column) {
    const head = make("th", { scope: "col", "aria-sort": "none" });
    if (column.number) head.className = "number";
    const button = make("button", { type: "button" }, column.name);
    button.addEventListener("click", () => this.#sort(column));
    head.append(button);
    return head;
  }

  /** Numbers fall first, names rise first; a second click turns them round. */
  #sort(column) {
    const again = this.sorted.key === column.key;
    const sign = again ? -this.sorted.sign : column.number ? -1 : 1;
    this.sorted = { key: column.key, sign };
    this.heads.forEach((head, k) => {
      const way = this.columns[k] === column ? (sign > 0 ? "ascending" : "descending") : "none";
      head.setAttribute("aria-sort", way);
    });
    this.limit = this.step;
    this.show();
  }

  #refilter() {
    this.limit = this.step;
    this.show();
  }

  /** More rows, with the focus on the first of them: the button may be gone. */
  #extend() {
    const before = this.limit;
    this.limit += this.step;
    this.show();
    this.body.rows[before]?.querySelector("button")?.focus();
  }

  matching() {
    const wanted = this.filters.map((f) => [f.key, f.chosen()]).filter(([, v]) => v !== undefined);
    const found = this.records.filter((r) => wanted.every(([key, value]) => r[key] === value));
    const { key, sign } = this.sorted;
    return key === null ? found : found.sort((a, b) => sign * compare(a[key], b[key]));
  }

  /** All columns but those that a filter makes the same in all rows; the first stays. */
  visible() {
    const fixed = this.filters.filter((f) => f.chosen() !== undefined).map((f) => f.key);
    return this.columns.filter((column, k) => k === 0 || !fixed.includes(column.key));
  }

  show() {
    const found = this.matching();
    const shown = found.slice(0, this.limit);
    const visible = this.visible();
    this.heads.forEach((head, k) => { head.hidden = !visible.includes(this.columns[k]); });
    this.body.replaceChildren(...shown.map((record) => this.#row(record, visible)));
    this.count.textContent = `${found.length} of ${this.records.length} rows`;
    if (shown.length < found.length) this.count.textContent += `, the first ${shown.length} shown`;
    this.more.textContent = `Show ${Math.min(this.step, found.length - shown.length)} more`;
    this.more.hidden = shown.length === found.length;
    if (this.onChoose && this.chosen === null && shown.length) this.choose(shown[0]);
  }

  choose(record) {
    this.chosen = record;
    for (const row of this.body.rows) this.#mark(row, row.record === record);
    this.onChoose(record);
  }

  #mark(row, chosen) {
    row.classList.toggle("chosen", chosen);
    row.querySelector("button").setAttribute("aria-pressed", String(chosen));
  }

  #row(record, visible) {
    const row = make("tr");
    row.record = record;
    visible.forEach((column, k) => row.append(this.#cell(record, column, k === 0)));
    if (this.onChoose) {
      row.className = "choosable";
      row.addEventListener("click", () => this.choose(record));
      this.#mark(row, record === this.chosen);
    }
    return row;
  }

  #cell(record, column, first) {
    const value = record[column.key];
    const text = column.shown ? column.shown(record) : String(value);
    const cell = first ? make("th", { scope: "row" }) : make("td");
    if (column.number) cell.classList.add("number");
    if (column.bar) {
      cell.classList.add("bar");
      cell.classList.toggle("below", value < 0.5);
      cell.style.setProperty("--share", `${Math.max(0, 200 * (value - 0.5)).toFixed(1)}%`);
    }
    cell.append(first && this.onChoose ? make("button", { type: "button" }, text) : text);
    return cell;
  }
}
