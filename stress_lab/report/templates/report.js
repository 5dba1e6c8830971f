"use strict";
// Draw the charts, and let the filters choose which failures are shown.
const specs = JSON.parse(document.getElementById("charts").textContent);
for (const place of document.querySelectorAll("[data-chart]")) {
  vegaEmbed(place, specs[place.dataset.chart], { actions: false, renderer: "svg" })
    .catch((error) => { place.textContent = `this chart could not be drawn: ${error.message}`; console.error(error); });
}

const form = document.getElementById("filters");
const further = document.getElementById("further");
const STEP = 24; // cards at a time
let limit = STEP;
function filterCards() {
  const wanted = Object.fromEntries(new FormData(form));
  let shown = 0;
  for (const card of document.querySelectorAll("#cards .card")) {
    const about = JSON.parse(card.dataset.about);
    const fits = (!wanted.true || about.true === wanted.true) &&
      ["tags", "patterns"].every((key) => !wanted[key] || about[key].includes(wanted[key])) &&
      about.fails.some((fails) => (!wanted.fails || fails.variant === wanted.fails) && // one variant meets all three
        (!wanted.pred || fails.preds.includes(wanted.pred)) && fails.confidence >= Number(wanted.confidence));
    card.hidden = !fits;
    shown += fits;
    card.classList.toggle("beyond", shown > limit);
  }
  document.getElementById("count").textContent = shown;
  further.hidden = shown <= limit;
  further.textContent = `show ${Math.min(2 * STEP, shown - limit)} more of ${shown}`;
  form.elements.shown.value = Number(wanted.confidence).toFixed(2);
}
function startAgain() {
  limit = STEP;
  filterCards();
}
if (form) {
  form.addEventListener("input", startAgain);
  document.getElementById("everything").addEventListener("click", () => { form.reset(); startAgain(); });
  further.addEventListener("click", () => { limit += 2 * STEP; filterCards(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const cell of document.querySelectorAll(".confusion button")) {
    cell.addEventListener("click", () => {
      form.reset();
      form.elements.true.value = cell.dataset.true;
      form.elements.pred.value = cell.dataset.pred;
      startAgain();
      form.scrollIntoView();
      form.elements.true.focus({ preventScroll: true });
    });
  }
  filterCards();
}
