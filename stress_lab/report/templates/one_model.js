"use strict";
// Let a heading sort its table; missing values stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  const read = (row, column) => {
    const cell = row.cells[column];
    const number = cell.querySelector("data");
    return number && !cell.classList.contains("text") ? Number(number.value) : cell.textContent.trim();
  };
  const isMissing = (value) => value === "–" || value === "never predicted";
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  const sort = (column) => {
    const up = headings[column].getAttribute("aria-sort") !== "ascending";
    headings.forEach((heading) => heading.removeAttribute("aria-sort"));
    headings[column].setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].map((row) => [read(row, column), row]);
    const known = rows.filter(([value]) => !isMissing(value)).sort(([a], [b]) => (up ? compare(a, b) : compare(b, a)));
    table.tBodies[0].append(...known.map(([, row]) => row), ...rows.filter(([value]) => isMissing(value)).map(([, row]) => row));
  };
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sort(column));
    heading.append(button);
  });
}
