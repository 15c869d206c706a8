"use strict";
// Switching the energy profile: every element that belongs to one says which in data-profile.
const choice = document.getElementById("profile");
function show() {
  for (const element of document.querySelectorAll("[data-profile]")) element.hidden = element.dataset.profile !== choice.value;
}
choice.addEventListener("change", show);
show();
// Sorting: a button in each heading; numbers come from data-value, so that formatting does not matter.
for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th"), table = button.closest("table"), body = table.tBodies[0];
    const column = [...heading.parentNode.children].indexOf(heading);
    const down = heading.getAttribute("aria-sort") !== "descending";
    for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => { const v = row.children[column].dataset.value; return v === undefined ? -1 : Number(v); };
    const rows = [...body.rows];
    if (column === 0) rows.sort((a, b) => a.cells[0].textContent.localeCompare(b.cells[0].textContent));
    else rows.sort((a, b) => key(a) - key(b));
    if (down && column !== 0 || !down && column === 0) rows.reverse();
    body.append(...rows);
  });
}
