// What `checks/pages.py` asks of a page that is open.
const seen = (one) => one.checkVisibility({ visibilityProperty: true }) && one.getClientRects().length > 0;
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

function rgb(text) {
  const numbers = text.match(/[\d.]+/g).map(Number);
  return { colour: numbers.slice(0, 3), alpha: numbers[3] ?? 1 };
}
function luminance({ colour }) {
  const [r, g, b] = colour.map((value) => value / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function contrast(one, other) {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}
function ground(element) {
  for (let one = element; one; one = one.parentElement) {
    const found = rgb(getComputedStyle(one).backgroundColor);
    if (found.alpha > 0) return found;
  }
  return { colour: [255, 255, 255], alpha: 1 };
}
function texts() {
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement, text = walk.currentNode.textContent.trim();
    const shown = text && seen(element) && !["SCRIPT", "OPTION", "PRE"].includes(element.tagName) && element.id !== "told";
    if (shown) found.push({ element, text: text.slice(0, 40) });
  }
  return found;
}
function looked(leastContrast, leastLetters) {
  const faint = new Set(), small = new Set();
  for (const { element, text } of texts()) {
    const drawing = element.closest("svg"), style = getComputedStyle(element);
    const boxes = drawing ? all(".box", drawing).map((box) => rgb(getComputedStyle(box).fill)) : [];
    const ink = rgb(drawing ? style.fill : style.color);
    const least = Math.min(...[ground(element), ...boxes].map((behind) => contrast(ink, behind)));
    if (least < leastContrast) faint.add(`${text}: ${least.toFixed(2)}`);
    if (!drawing) continue;
    const size = parseFloat(style.fontSize) * (drawing.getBoundingClientRect().width / drawing.viewBox.baseVal.width);
    if (size < leastLetters) small.add(`${text}: ${size.toFixed(1)}`);
  }
  const outside = all(".chart text").filter(seen).filter((one) => {
    const box = one.getBoundingClientRect(), whole = one.closest("svg").getBoundingClientRect();
    return box.left < whole.left - 2 || box.right > whole.right + 2;
  }).map((one) => one.textContent);
  return { faint: [...faint], small: [...small], outside, wide: document.documentElement.scrollWidth - innerWidth };
}

function controls() {
  return all("a[href], button, select, input, summary, [tabindex='0']").filter(seen);
}
function focused(known) {
  const one = document.activeElement, style = getComputedStyle(one);
  const marked = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return [known.indexOf(one), marked, `${one.tagName} ${(one.ariaLabel ?? one.textContent).trim().slice(0, 40)}`];
}
function focus(element) {
  element?.focus();
  return Boolean(element) && document.activeElement === element;
}

const profiles = () => [...new Set(all("[data-profile]").filter((one) => !one.hidden).map((one) => one.dataset.profile))];
const tables = () => all(".scroll").filter(seen);
const charts = () => all(".chart").filter(seen);
const pictures = () => all("figure").filter(seen);
const byNumber = (table) => all("thead button", table).filter((one) => seen(one) && !one.closest(".text"))[0];
const headings = (table) => all("thead th", table).filter(seen).length;
function numbers(table) {
  const heading = byNumber(table).closest("th"), column = [...heading.parentNode.children].indexOf(heading);
  const values = all("tbody tr", table).map((row) => row.children[column].dataset.value).filter((one) => one !== undefined);
  return [values.map(Number), heading.getAttribute("aria-sort")];
}
function cells(table) {
  const rows = all("thead tr, tbody tr", table);
  return rows.map((row) => [...row.children].filter(seen).map((one) => one.dataset.value ?? one.textContent.trim()));
}
const caption = (figure) => figure.querySelector("figcaption").firstChild.textContent;
