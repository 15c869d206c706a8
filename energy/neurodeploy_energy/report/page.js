"use strict";
// Switching the energy profile: every element that belongs to one says which in data-profile.
const choice = document.getElementById("profile");
function show() {
  for (const element of document.querySelectorAll("[data-profile]")) element.hidden = element.dataset.profile !== choice.value;
}
if (choice) {
  choice.addEventListener("change", show);
  show();
}
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
  tip.style.left = `${Math.min(x + 14, window.innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${Math.min(y + 14, window.innerHeight - tip.offsetHeight - 8)}px`;
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
    const mark = marks[Math.max(0, Math.min(last, next))], box = mark.getBoundingClientRect();
    tell(mark, box.right, box.top);
    told.textContent = mark.dataset.tip;
  });
}
