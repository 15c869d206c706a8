"use strict";
const make = (name, text, more = {}) => Object.assign(document.createElement(name), { textContent: text }, more);

// Switching the energy profile: every element that belongs to one says which in data-profile.
const choice = document.getElementById("profile");
function show() {
  for (const element of document.querySelectorAll("[data-profile]")) element.hidden = element.dataset.profile !== choice.value;
}
if (choice) {
  choice.addEventListener("change", show);
  show();
}

// Saving: a file that the page carries or makes; nothing is sent anywhere.
function save(name, content, kind) {
  const address = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type: `${kind};charset=utf-8` }));
  make("a", "", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
for (const button of document.querySelectorAll("[data-file]")) {
  const file = [...document.querySelectorAll("pre[data-name]")].find((one) => one.dataset.name === button.dataset.file);
  button.addEventListener("click", () => save(file.dataset.name, file.textContent, file.dataset.kind));
}
const fileName = (title) => title.trim().toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) || "table";

// Sorting: a button in each heading; numbers come from data-value, so that formatting does not matter.
for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th"), body = button.closest("table").tBodies[0];
    const column = [...heading.parentNode.children].indexOf(heading);
    const words = heading.classList.contains("text"), before = heading.getAttribute("aria-sort");
    const down = words ? before === "ascending" : before !== "descending";
    for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => { const v = row.children[column].dataset.value; return v === undefined ? -Infinity : Number(v); };
    const text = (row) => row.children[column].textContent;
    const rows = [...body.rows];
    rows.sort((a, b) => words ? text(a).localeCompare(text(b)) : key(a) - key(b) || 0);
    if (down) rows.reverse();
    body.append(...rows);
  });
}

// A table's tools: which of its columns are shown, and what is shown as CSV, with the numbers behind it.
const field = (cell) => {
  const text = cell.dataset.value ?? cell.textContent.trim();
  const safe = cell.dataset.value === undefined && /^[=+\-@＝＋－＠]/.test(text) ? `'${text}` : text;
  return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};
function columnsOf(table) {
  const columns = new Map();
  for (const [i, heading] of [...table.tHead.rows[0].children].entries()) {
    const name = heading.dataset.column ?? heading.textContent;
    const column = columns.get(name) ?? { name, places: [], on: !("hidden" in heading.dataset) };
    column.places.push(i);
    columns.set(name, column);
  }
  return [...columns.values()];
}
function showColumn(table, column) {
  for (const row of table.rows) for (const i of column.places) row.children[i].classList.toggle("off", !column.on);
}
for (const region of document.querySelectorAll(".scroll")) {
  const table = region.querySelector("table"), title = region.getAttribute("aria-label"), columns = columnsOf(table);
  for (const column of columns) showColumn(table, column);
  const tools = make("div", "", { className: "tools" });
  const saver = make("button", "CSV", { type: "button" });
  saver.setAttribute("aria-label", `Save as CSV: ${title}`);
  saver.addEventListener("click", () => {
    const lines = [...table.tHead.rows, ...table.tBodies[0].rows].map((row) =>
      [...row.children].filter((cell) => cell.offsetParent !== null).map(field).join(","));
    save(`${fileName(title)}.csv`, `${lines.join("\n")}\n`, "text/csv");
  });
  tools.append(saver);
  if (columns.length > 3) {
    const box = make("details", ""), set = make("fieldset", "");
    set.setAttribute("aria-label", `Columns of ${title}`);
    for (const column of columns.slice(1)) {
      const tick = make("input", "", { type: "checkbox", checked: column.on }), label = make("label", "");
      tick.addEventListener("change", () => { column.on = tick.checked; showColumn(table, column); });
      label.append(tick, column.name);
      set.append(label);
    }
    box.append(make("summary", "Columns"), set);
    tools.append(box);
  }
  if (region.dataset.profile) tools.dataset.profile = region.dataset.profile;
  region.before(tools);
}
if (choice) show();

// A chart as PNG: its caption, its legend, and the drawing in the colours that the page has now, at twice its size.
const INLINED = ["fill", "stroke", "stroke-width", "stroke-dasharray", "font-size", "font-family", "text-anchor"];
function wrapped(pen, text, width) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (pen.measureText(longer).width <= width) lines[lines.length - 1] = longer; else lines.push(word);
  }
  return lines.filter((line) => line);
}
async function picture(figure) {
  const chart = [...figure.querySelectorAll(".chart")].find((one) => one.getBoundingClientRect().width > 0);
  const copy = chart.cloneNode(true), from = [chart, ...chart.querySelectorAll("*")], to = [copy, ...copy.querySelectorAll("*")];
  from.forEach((one, i) => {
    const style = getComputedStyle(one);
    to[i].setAttribute("style", INLINED.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";"));
  });
  const { width, height } = chart.viewBox.baseVal, page = getComputedStyle(document.body);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", 2 * width);
  copy.setAttribute("height", 2 * height);
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
  await image.decode();
  const canvas = make("canvas", "", { width: 2 * width }), pen = canvas.getContext("2d");
  const bold = `600 26px ${page.fontFamily}`, plain = `24px ${page.fontFamily}`;
  pen.font = bold;
  const caption = wrapped(pen, figure.querySelector("figcaption").firstChild.textContent, 2 * width - 32);
  const keys = [...figure.querySelectorAll(".legend span")];
  pen.font = plain;
  let x = 16, line = 0;
  const places = keys.map((key) => {
    const wide = pen.measureText(key.textContent).width + 70;
    if (x > 16 && x + wide > 2 * width) { x = 16; line += 1; }
    const place = { key, x, line };
    x += wide;
    return place;
  });
  const below = 16 + 36 * caption.length, top = below + (keys.length ? 36 * (line + 1) : 0) + 10;
  canvas.height = top + 2 * height;
  pen.fillStyle = page.backgroundColor;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.font = bold;
  pen.fillStyle = page.color;
  caption.forEach((text, i) => pen.fillText(text, 16, 36 * (i + 1)));
  pen.font = plain;
  for (const place of places) {
    const y = below + 36 * place.line;
    pen.fillStyle = getComputedStyle(place.key.querySelector(".key")).backgroundColor;
    pen.fillRect(place.x, y + 6, 22, 22);
    pen.fillStyle = page.color;
    pen.fillText(place.key.textContent, place.x + 32, y + 26);
  }
  pen.drawImage(image, 0, top);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}
for (const figure of document.querySelectorAll("figure")) {
  const title = figure.querySelector("figcaption").firstChild.textContent, tools = make("div", "", { className: "tools" });
  const button = make("button", "PNG", { type: "button" });
  button.setAttribute("aria-label", `Save as PNG: ${title}`);
  button.addEventListener("click", async () => save(`${fileName(title)}.png`, await picture(figure)));
  tools.append(button);
  figure.append(tools);
}

// Values of a chart: under the pointer, or with the arrow keys while it has the focus.
const tip = document.getElementById("tip"), told = document.getElementById("told");
let shown = null;
function hide() {
  if (shown) shown.classList.remove("shown");
  shown = null;
  tip.hidden = true;
}
function tell(mark, x, y) {
  if (shown !== mark) { hide(); shown = mark; mark.classList.add("shown"); tip.textContent = mark.dataset.tip; tip.hidden = false; }
  tip.style.left = `${Math.max(0, Math.min(x + 14, window.innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.max(0, Math.min(y + 14, window.innerHeight - tip.offsetHeight - 8))}px`;
}
for (const chart of document.querySelectorAll(".chart")) {
  const marks = [...chart.querySelectorAll(".mark")];
  chart.addEventListener("pointermove", (event) => {
    if (event.target.dataset.tip === undefined) hide(); else tell(event.target, event.clientX, event.clientY);
  });
  chart.addEventListener("pointerleave", hide);
  chart.addEventListener("blur", hide);
  chart.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }, last = marks.length - 1;
    if (event.key === "Escape") hide();
    if (!marks.length || !(event.key in steps || event.key === "Home" || event.key === "End")) return;
    event.preventDefault();
    const now = marks.indexOf(shown), step = steps[event.key];
    const next = event.key === "Home" ? 0 : event.key === "End" ? last : now < 0 ? (step > 0 ? 0 : last) : now + step;
    const mark = marks[Math.max(0, Math.min(last, next))];
    mark.scrollIntoView({ block: "nearest" });
    const box = mark.getBoundingClientRect();
    tell(mark, box.right, box.top);
    told.textContent = mark.dataset.tip;
  });
}
