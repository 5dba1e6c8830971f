"use strict";
// the matrix of pairs: a chosen cell shows its numbers, arrow keys move
(() => {
  const table = document.querySelector("table.matrix"), panel = document.getElementById("pair");
  if (!table) return;
  const data = JSON.parse(document.getElementById("pairs-data").textContent);
  const size = (x) => Math.abs(100 * x).toFixed(2);
  const points = (x) => (x < 0 ? "−" : "+") + size(x);
  const p = (x) => (x < 0.001 ? "< 0.001" : x < 0.995 ? x.toFixed(3) : "1");
  const describe = (a, b, lead, [low, high], onlyA, onlyB, raw, adjusted, apart, kappa) => {
    const [first, second] = [data.names[a], data.names[b]];
    const what = data.right ? "right" : "wrong and sure";
    return [
      `${first} is ${size(lead)} points ahead of ${second} (${data.level} interval ${points(low)} to ${points(high)}).`,
      onlyA === null ? "" : `Only ${first} is ${what} on ${onlyA.toLocaleString("en")} images, only ${second} on ${onlyB.toLocaleString("en")}.`,
      `${data.test}${data.test.endsWith("p") ? "" : ", p"} ${p(raw)}, ${p(adjusted)} after Holm: ${apart ? "told apart" : "not told apart"}.`,
      kappa === null ? "" : `Error consistency κ ${kappa.toFixed(2).replace("-", "−")}.`,
    ].filter(Boolean).join(" ");
  };
  const show = (cell) => {
    const one = data.pairs[cell.dataset.pair];
    panel.textContent = describe(...one);
    const gallery = document.getElementById("cases") || document.getElementById("gallery");
    if (gallery && data.shown[one[0]] && data.shown[one[1]])
      panel.insertAdjacentHTML("beforeend", ` <a href="#${gallery.id}">their failures</a>`);
    for (const other of table.querySelectorAll("[data-pair]")) {
      other.tabIndex = other === cell ? 0 : -1;
      other.toggleAttribute("aria-selected", other === cell);
    }
  };
  const at = (row, column) => table.rows[row] && table.rows[row].cells[column];
  table.addEventListener("click", (event) => {
    const cell = event.target.closest("[data-pair]");
    if (cell) show(cell);
  });
  table.addEventListener("keydown", (event) => {
    const cell = event.target.closest("[data-pair]");
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Enter: [0, 0] }[event.key];
    if (!cell || !step) return;
    event.preventDefault();
    const next = at(cell.parentElement.rowIndex + step[0], cell.cellIndex + step[1]);
    if (next && next.dataset.pair !== undefined) { show(next); next.focus(); }
  });
})();
