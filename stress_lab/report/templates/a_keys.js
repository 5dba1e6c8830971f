// Many buttons as one stop of the Tab key: arrow keys, Home and End move among them.
document.documentElement.classList.add("scripts");
function visible(box, selector) {
  return [...box.querySelectorAll(selector)].filter((item) => item.offsetParent !== null);
}
function chooseStop(box, selector, chosen) {
  for (const item of box.querySelectorAll(selector)) item.tabIndex = item === chosen ? 0 : -1;
}
function resetStop(box) {
  const items = visible(box, box.dataset.rove);
  chooseStop(box, box.dataset.rove, items.find((item) => item.tabIndex === 0) || items[0]);
}
function findNext(items, from, key) {
  const place = items.indexOf(from);
  if (key === "Home") return items[0];
  if (key === "End") return items[items.length - 1];
  if (key === "ArrowLeft") return items[place - 1];
  if (key === "ArrowRight") return items[place + 1];
  const here = from.getBoundingClientRect(), down = key === "ArrowDown";
  let best, least = Infinity;
  for (const item of items) {
    const there = item.getBoundingClientRect(), rows = down ? there.top - here.top : here.top - there.top;
    if (rows < here.height / 2) continue;
    const far = 1000 * rows + Math.abs(there.left - here.left);
    if (far < least) [best, least] = [item, far];
  }
  return best;
}
for (const button of document.querySelectorAll("[data-save]")) button.closest("section").dataset.rove = "[data-save]";
for (const box of document.querySelectorAll("[data-rove]")) {
  const selector = box.dataset.rove;
  box.addEventListener("focusin", (event) => {
    const item = event.target.closest(selector);
    if (item) chooseStop(box, selector, item);
  });
  box.addEventListener("keydown", (event) => {
    const item = event.target.closest(selector);
    if (!item || !["Home", "End", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(event.key)) return;
    event.preventDefault();
    const next = findNext(visible(box, selector), item, event.key);
    if (next) next.focus();
  });
  chooseStop(box, selector, box.querySelector(selector));
}
// What is wider than its place can be scrolled by keyboard.
const watchWidths = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
for (const place of document.querySelectorAll(".scroll")) {
  const section = place.closest("section"), title = section && section.querySelector("h2");
  place.setAttribute("role", "group");
  place.setAttribute("aria-label", `table${title ? `: ${title.textContent}` : ""}`);
  watchWidths.observe(place);
}
