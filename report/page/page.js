"use strict";
// Without this script tables keep their order, and cards open by hand.
const valueOf = (row, column) => {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number(text);
  return text === "" || text === "None" ? null : Number.isNaN(number) ? text : number;
};
const inOrder = (one, other) =>
  typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other), "en", { numeric: true });
function sort(table, head, column) {
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  const keyed = [...body.rows].map((row) => [valueOf(row, column), row]);
  keyed.sort(([one], [other]) => {
    if (one === null || other === null) return (one === null) - (other === null);
    return down ? inOrder(other, one) : inOrder(one, other);
  });
  body.append(...keyed.map(([, row]) => row));
}
for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    button.type = "button";
    button.addEventListener("click", () => sort(table, head, column));
    head.append(button);
  });
}
const filter = document.getElementById("filter");
if (filter) {
  const rows = [...document.getElementById("all").tBodies[0].rows];
  const show = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      count += !row.hidden;
    }
    document.getElementById("shown").textContent = `${count} of ${rows.length}`;
  };
  filter.closest("p").hidden = false;
  filter.addEventListener("input", show);
  show();
}
const open = () => {
  const card = document.getElementById(location.hash.slice(1));
  if (card?.tagName === "DETAILS") card.open = true;
};
addEventListener("hashchange", open);
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));
open();
