"use strict";

// Every table sorts; the table of trials is filtered too, and shows a trial's learning curve.

const curves = JSON.parse(document.getElementById("curves").textContent);
const value = cell => cell.dataset.v ?? cell.textContent;

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

// Sorting: ascending, descending, then the order of the page again. Empty cells come last.

function sortable(table) {
  const headers = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const rows = [...body.rows];
  headers.forEach((header, column) => {
    const button = make("button", { type: "button" }, ...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" };
      const order = next[header.getAttribute("aria-sort") ?? "none"];
      headers.forEach(other => other.removeAttribute("aria-sort"));
      if (order !== "none") header.setAttribute("aria-sort", order);
      const sign = order === "descending" ? -1 : 1;
      const keyed = rows.map(row => [value(row.cells[column]), row]);
      if (order !== "none") keyed.sort(([a], [b]) => compared(a, b, sign));
      const opened = body.querySelector("tr.open");
      const chart = opened?.nextSibling;
      body.append(...keyed.map(([, row]) => row));
      opened?.after(chart);
    });
  });
}

function compared(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const difference = a - b;
  return sign * (Number.isNaN(difference) ? a.localeCompare(b) : difference);
}

// Filtering: texts that a row holds, and conditions such as sr=0.125,0.25 or top1 > 80.

const SIGN = /^\s*(<=|>=|==|!=|[<>=])\s*/;
const TESTS = { "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b };

function filterable(table) {
  const rows = [...table.tBodies[0].rows];
  const columns = [...table.tHead.rows[0].cells].map((header, at) => ({
    name: header.textContent.trim(),
    isNumber: header.classList.contains("number"),
    cell: row => row.cells[at],
    texts: [...new Set(rows.map(row => row.cells[at].textContent))],
  }));
  const input = make("input", { type: "search", id: "filter", placeholder: "seed=0 val_top1>80" });
  const status = make("output", { htmlFor: "filter" });
  const label = make("label", { htmlFor: "filter" }, "Filter");
  const hint = make("small", { id: "hint" },
    "Rows that fit all terms: texts such as simple, conditions such as sr=0.125,0.25, bypass!=none or " +
    "val_top1>80. Quotes keep words together.");
  input.setAttribute("aria-describedby", "hint");
  const form = make("form", { className: "filter" }, label, input, status, hint);
  form.addEventListener("submit", event => event.preventDefault());
  table.closest(".box").before(form);
  const update = () => {
    const tests = terms(input.value, columns);
    const wrong = tests.find(test => typeof test === "string");
    let count = 0;
    for (const row of rows) {
      row.hidden = !wrong && !tests.every(test => test(row));
      count += !row.hidden;
    }
    status.value = wrong ?? `${count.toLocaleString("en")} of ${rows.length.toLocaleString("en")} trials`;
    const opened = table.querySelector("tr.open");
    if (opened?.hidden) toggle(opened);
  };
  input.addEventListener("input", update);
  update();
}

// A test of a row for each term of a filter, or a line that says what is wrong with one.

function terms(filter, columns) {
  const tests = [];
  let rest = filter.trim();
  while (rest !== "") {
    const [name, after] = taken(rest, columns.map(column => column.name), /^(?:[^\s<>=!]|!(?!=))*/);
    const [found, sign] = SIGN.exec(after) ?? [""];
    const column = columns.find(one => same(one.name, name));
    let test = row => [...row.cells].some(cell => lower(cell.textContent).includes(lower(name)));
    rest = after.slice(found.length);
    if (sign && !column) test = name ? `There is no column ${name}.` : `No column stands before ${sign}`;
    else if (sign in TESTS) [test, rest] = ordered(column, sign, rest);
    else if (sign) [test, rest] = equalling(column, sign, rest);
    tests.push(test);
    rest = rest.trimStart();
  }
  return tests;
}

function ordered(column, sign, text) {
  const [wanted] = /^\S*(?:\s+%)?/.exec(text);
  const rest = text.slice(wanted.length);
  if (wanted === "") return [() => true, rest];
  if (!column.isNumber) return [`${column.name} holds no numbers.`, rest];
  if (Number.isNaN(number(wanted))) return [`${column.name} ${sign} needs a number, got ${wanted}`, rest];
  return [row => known(column, row) && TESTS[sign](Number(value(column.cell(row))), number(wanted)), rest];
}

function equalling(column, sign, text) {
  const wanted = [];
  let rest = text, one;
  do {
    [one, rest] = taken(rest.replace(/^\s*,\s*/, ""), column.texts, /^[^\s,]*/);
    if (one !== "") wanted.push(one);
  } while (/^\s*,/.test(rest));
  const strange = wanted.find(one => !column.texts.some(own => same(own, one)) &&
    !(column.isNumber && number(one) === number(one)));
  if (strange) return [`${column.name} has no value ${strange}`, rest];
  const fits = row => wanted.some(one => equal(column, row, one));
  return [row => !wanted.length || known(column, row) && fits(row) === (sign !== "!="), rest];
}

// What a text begins with, and the rest: in quotes, the longest of some texts, or what fits a pattern.

function taken(text, texts, pattern) {
  const [quoted, inside] = /^"([^"]*)"?/.exec(text) ?? [];
  if (quoted) return [inside, text.slice(quoted.length)];
  const begins = one => same(text.slice(0, one.length), one) && /^($|[\s,<>=!])/.test(text.slice(one.length));
  const fits = texts.filter(begins).sort((a, b) => b.length - a.length);
  const length = (fits[0] ?? pattern.exec(text)[0]).length;
  return [text.slice(0, length), text.slice(length)];
}

const lower = text => text.toLowerCase();
const same = (a, b) => lower(a) === lower(b);
const number = text => Number(text.replace(/\s*%$/, "").replace(/(\d),(?=\d{3}(?!\d))/g, "$1") || NaN);
const known = (column, row) => value(column.cell(row)) !== "";
const equal = (column, row, text) => same(column.cell(row).textContent, text) ||
  (column.isNumber && Number(value(column.cell(row))) === number(text));

// The learning curve of one trial, below its row.

function opening(table) {
  for (const row of table.tBodies[0].rows) {
    const cell = row.cells[0];
    const button = make("button", { type: "button", className: "id" }, cell.textContent);
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-label", `Learning curve of trial ${cell.textContent}`);
    cell.replaceChildren(button);
    row.addEventListener("click", () => {
      if (String(getSelection()) === "") toggle(row);
    });
  }
}

function toggle(row) {
  const opened = row.parentNode.querySelector("tr.open");
  if (opened) {
    opened.nextSibling.remove();
    opened.classList.remove("open");
    opened.querySelector("button").setAttribute("aria-expanded", "false");
  }
  if (opened === row) return;
  row.classList.add("open");
  row.querySelector("button").setAttribute("aria-expanded", "true");
  const width = Math.min(row.closest(".box").clientWidth, 680);
  const figure = make("figure", {}, ...chart(row, width));
  figure.style.width = `${width}px`;
  row.after(make("tr", {}, make("td", { className: "chart", colSpan: row.cells.length }, figure)));
}

function chart(row, width) {
  const headers = [...row.closest("table").tHead.rows[0].cells];
  const text = headers.map((header, n) => `${header.textContent} ${row.cells[n].textContent}`).join(", ");
  const curve = curves[row.dataset.id];
  if (!curve) return [make("figcaption", {}, `No curve is kept for this trial. ${text}`)];
  return [drawn(curve, width, 240), make("figcaption", {}, `${text}.`)];
}

function drawn([epochs, training, validation], width, height) {
  const [left, right, top, bottom] = [40, 12, 26, 36];
  const first = Math.min(0, ...epochs), last = Math.max(...epochs);
  const x = epoch => left + (width - left - right) * (epoch - first) / (last - first);
  const y = percent => height - bottom - (height - top - bottom) * percent / 100;
  const svg = drawing("svg", { width, height, role: "img", "aria-label": "Accuracy by epoch" });
  for (const percent of [0, 20, 40, 60, 80, 100]) {
    svg.append(
      drawing("line", { x1: left, x2: width - right, y1: y(percent), y2: y(percent), stroke: "#e3e7eb" }),
      drawing("text", { x: left - 6, y: y(percent) + 4, "text-anchor": "end" }, percent));
  }
  const step = Math.max(1, Math.ceil(last / 10));
  for (let epoch = 0; epoch <= last; epoch += step) {
    svg.append(drawing("text", { x: x(epoch), y: height - bottom + 16, "text-anchor": "middle" }, epoch));
  }
  svg.append(
    drawing("text", { x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, "epoch"),
    drawing("text", { x: 0, y: 12 }, "top-1 accuracy (%)"));
  const lines = [["validation", validation, "#1f5fa8", ""], ["training", training, "#b5541c", "5 3"]];
  lines.forEach(([name, values, stroke, dash], n) => {
    const style = { fill: "none", stroke, "stroke-width": 2, "stroke-dasharray": dash };
    const at = width - right - 170 + 90 * n;
    svg.append(
      drawing("path", { d: path(epochs, values, x, y), ...style }),
      drawing("path", { d: `M${at},8h18`, ...style }),
      drawing("text", { x: at + 23, y: 12 }, name));
    if (epochs.length === 1 && values[0] !== null) {
      svg.append(drawing("circle", { cx: x(epochs[0]), cy: y(values[0]), r: 3, fill: stroke }));
    }
  });
  return svg;
}

function path(epochs, values, x, y) {
  let pen = "M";
  return epochs.map((epoch, n) => {
    if (values[n] === null) { pen = "M"; return ""; }
    const piece = `${pen}${x(epoch).toFixed(1)},${y(values[n]).toFixed(1)}`;
    pen = "L";
    return piece;
  }).join("");
}

function drawing(name, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, given] of Object.entries(attributes)) element.setAttribute(key, given);
  element.textContent = text;
  return element;
}

// The page --------------------------------------------------------------------------------

for (const table of document.querySelectorAll("table")) sortable(table);
for (const table of document.querySelectorAll("table.trials")) { filterable(table); opening(table); }
for (const image of document.querySelectorAll("img[data-name]")) {
  const link = make("a", { href: image.src, download: image.dataset.name }, `save ${image.dataset.name}`);
  image.nextElementSibling.append(link);
}
