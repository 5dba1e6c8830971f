// Sort, filter and enlarge the failures; the page's address keeps what was chosen.
{
const source = document.getElementById("failures");
const { shown, elsewhere } = source ? JSON.parse(source.textContent) : { shown: [], elsewhere: [] };
const form = document.getElementById("filters");
const list = document.getElementById("cards");
const further = document.getElementById("further");
const dialog = document.getElementById("enlarged");
const STEP = 24; // failures at a time
const CHOSEN = ["sort", "true", "pred", "fails", "tags", "patterns", "confidence"];
const elements = new Map();
let limit = STEP, fitting = [], open = null;

const classes = form ? [...form.elements.true.options].map((option) => option.value) : [];
const highest = (about) => Math.max(0, ...about.fails.map((fails) => fails.confidence));
const ORDERS = {
  "": (a, b) => a.place - b.place,
  confidence: (a, b) => highest(b) - highest(a) || a.place - b.place,
  true: (a, b) => classes.indexOf(a.true) - classes.indexOf(b.true) || a.place - b.place,
  index: (a, b) => (typeof a.index === "number" && typeof b.index === "number" ? a.index - b.index
    : String(a.index).localeCompare(String(b.index), "en", { numeric: true })) || a.place - b.place,
};

function fits(about, wanted) {
  return (!wanted.true || about.true === wanted.true) &&
    ["tags", "patterns"].every((key) => !wanted[key] || about[key].includes(wanted[key])) &&
    about.fails.some((fails) => (!wanted.fails || fails.variant === wanted.fails) && // one variant meets all three
      (!wanted.pred || fails.preds.includes(wanted.pred)) && fails.confidence >= Number(wanted.confidence));
}
function showCards() {
  const wanted = Object.fromEntries(new FormData(form));
  const sorted = [...shown].sort(ORDERS[wanted.sort || ""]);
  fitting = sorted.filter((about) => fits(about, wanted));
  const seen = new Set(fitting.slice(0, limit));
  for (const about of sorted) {
    const element = elements.get(about.card);
    element.hidden = !seen.has(about);
    list.append(element);
  }
  const others = elsewhere ? elsewhere.filter((about) => fits(about, wanted)).length : 0;
  const filtered = CHOSEN.some((key) => key !== "sort" && Number(wanted[key] || 0) !== 0);
  document.getElementById("count").textContent = fitting.length.toLocaleString("en");
  if (elsewhere) document.getElementById("total").textContent = (fitting.length + others).toLocaleString("en");
  document.getElementById("counted").textContent =
    filtered ? "images that fit the filters" : "images with a confident failure";
  further.hidden = fitting.length <= limit;
  further.textContent = `show ${Math.min(2 * STEP, fitting.length - limit)} more of ${fitting.length}`;
  form.elements.shown.value = Number(wanted.confidence).toFixed(2);
  if (list.dataset.rove) resetStop(list);
}
function keepState() {
  const wanted = Object.fromEntries(new FormData(form)), state = new URLSearchParams();
  for (const key of CHOSEN) if (wanted[key] && wanted[key] !== "0") state.set(key, wanted[key]);
  if (open !== null) state.set("card", open);
  const text = state.toString();
  history.replaceState(null, "", text ? `#gallery?${text}` : "#gallery");
}
function restoreState() {
  if (!location.hash.startsWith("#gallery?")) return;
  const state = new URLSearchParams(location.hash.slice("#gallery?".length));
  form.reset();
  for (const key of CHOSEN) if (state.has(key) && form.elements[key]) form.elements[key].value = state.get(key);
  for (const select of form.querySelectorAll("select")) if (select.selectedIndex < 0) select.value = "";
  limit = STEP;
  showCards();
  document.getElementById("gallery").scrollIntoView();
  const card = elements.get(Number(state.get("card")));
  if (state.has("card") && card) enlarge(card);
}
function chooseAgain() {
  limit = STEP;
  showCards();
  keepState();
}

// One failure, large. The dialog is left by Escape, a button, or a click beside it.
function enlarge(card) {
  const copy = card.cloneNode(true), button = copy.querySelector(".open");
  copy.hidden = false;
  copy.classList.add("large");
  if (button) button.replaceWith(...button.childNodes);
  const place = fitting.findIndex((about) => elements.get(about.card) === card);
  for (const turn of dialog.querySelectorAll("[data-turn='-1'], [data-turn='1']")) {
    turn.disabled = place < 0 || !fitting[place + Number(turn.dataset.turn)];
  }
  dialog.lastElementChild.replaceChildren(copy);
  open = place < 0 ? null : card.dataset.card;
  if (!dialog.open) dialog.showModal();
  keepState();
}
function turnTo(step) {
  const place = fitting.findIndex((about) => String(about.card) === open);
  const next = place < 0 ? null : fitting[place + step];
  if (next) enlarge(elements.get(next.card));
}
function openNearest(event) {
  const card = event.target.closest("figure.card");
  if (card && !getSelection().toString()) enlarge(card);
}

if (form) {
  for (const element of list.children) elements.set(Number(element.dataset.card), element);
  shown.forEach((about, place) => { about.place = place; });
  form.addEventListener("input", chooseAgain);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("everything").addEventListener("click", () => { form.reset(); chooseAgain(); });
  further.addEventListener("click", () => {
    const first = fitting[limit];
    limit += 2 * STEP;
    showCards();
    const button = elements.get(first.card).querySelector(".open");
    if (button) button.focus({ preventScroll: true });
  });
  for (const cell of document.querySelectorAll(".confusions button")) {
    cell.addEventListener("click", () => {
      form.reset();
      form.elements.true.value = cell.dataset.true;
      form.elements.pred.value = cell.dataset.pred;
      chooseAgain();
      form.scrollIntoView();
      form.elements.true.focus({ preventScroll: true });
    });
  }
  for (const cards of document.querySelectorAll(".cards")) cards.addEventListener("click", openNearest);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
    const turn = event.target.closest("[data-turn]");
    if (turn && turn.dataset.turn === "0") dialog.close();
    else if (turn) turnTo(Number(turn.dataset.turn));
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") turnTo(-1);
    if (event.key === "ArrowRight") turnTo(1);
  });
  dialog.addEventListener("close", () => {
    const card = open === null ? null : elements.get(Number(open));
    open = null;
    keepState();
    const button = card && !card.hidden && card.querySelector(".open");
    if (button) button.focus();
  });
  addEventListener("hashchange", restoreState);
  showCards();
  restoreState();
}
}
