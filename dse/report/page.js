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

// Filtering: words that a row holds, and conditions such as sr=0.125,0.25 or top1>80.

function filterable(table) {
  const columns = [...table.tHead.rows[0].cells].map(cell => cell.textContent.trim());
  const rows = [...table.tBodies[0].rows];
  const input = make("input", { type: "search", id: "filter", placeholder: "seed=0 val_top1>80" });
  const status = make("output", { htmlFor: "filter" });
  const label = make("label", { htmlFor: "filter" }, "Filter");
  const hint = make("small", { id: "hint" },
    "Rows that fit all words: texts such as simple, conditions such as sr=0.125,0.25 or val_top1>80.");
  input.setAttribute("aria-describedby", "hint");
  const form = make("form", { className: "filter" }, label, input, status, hint);
  form.addEventListener("submit", event => event.preventDefault());
  table.closest(".box").before(form);
  const update = () => {
    const words = input.value.split(/\s+/).filter(Boolean);
    const tests = words.map(word => condition(word, columns));
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

function condition(word, columns) {
  const [, name, sign, wanted] = /^([^<>=]+)(<=|>=|[<>=])(.*)$/.exec(word) ?? [];
  if (name === undefined) {
    return row => [...row.cells].some(cell => cell.textContent.toLowerCase().includes(word.toLowerCase()));
  }
  const column = columns.indexOf(name);
  if (column < 0) return `There is no column ${name}.`;
  const equal = (cell, text) =>
    cell.textContent === text || (text !== "" && Number(value(cell)) === Number(text) && value(cell) !== "");
  const tests = {
    "=": cell => wanted.split(",").some(text => equal(cell, text)),
    "<": cell => Number(value(cell)) < Number(wanted),
    ">": cell => Number(value(cell)) > Number(wanted),
    "<=": cell => Number(value(cell)) <= Number(wanted),
    ">=": cell => Number(value(cell)) >= Number(wanted),
  };
  return row => wanted === "" || (value(row.cells[column]) !== "" && tests[sign](row.cells[column]));
}

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
