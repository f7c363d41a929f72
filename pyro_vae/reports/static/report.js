"use strict";

// Tables: a heading's button sorts, again the other way round. Cells of one unit stay together,
// and those without a value come last, whichever way.
function compare(a, b, direction) {
  if (a.value === null || b.value === null) {
    return (a.value === null) - (b.value === null);
  }
  if (a.unit !== b.unit) {
    return a.unit < b.unit ? -1 : 1;
  }
  const [x, y] = [Number(a.value), Number(b.value)];
  const order = Number.isNaN(x) || Number.isNaN(y)
    ? a.value.localeCompare(b.value, "en", { numeric: true })
    : x - y;
  return direction * order;
}

function sort(table, column, heading) {
  const ascending = heading.getAttribute("aria-sort") !== "ascending";
  const rows = Array.from(table.tBodies[0].rows, (row) => {
    const cell = row.cells[column];
    return { row, value: cell.dataset.value ?? null, unit: cell.dataset.unit };
  });
  rows.sort((a, b) => compare(a, b, ascending ? 1 : -1));
  table.tBodies[0].append(...rows.map((entry) => entry.row));
  for (const other of table.tHead.rows[0].cells) {
    other.setAttribute("aria-sort", "none");
  }
  const order = ascending ? "ascending" : "descending";
  heading.setAttribute("aria-sort", order);
  table.querySelector(".sorted").textContent = `sorted by ${heading.textContent.trim()}, ${order}`;
}

for (const table of document.querySelectorAll("table.sortable")) {
  Array.from(table.tHead.rows[0].cells).forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => sort(table, column, heading));
  });
}

// The slider shows one frame of every run; without this script all frames are seen.
const slider = document.getElementById("z");
if (slider !== null) {
  const stacks = Array.from(document.querySelectorAll(".frames"), (frames) => {
    frames.classList.add("live");
    return Array.from(frames.children);
  });
  const show = () => {
    const at = Number(slider.value);
    for (const stack of stacks) {
      stack.forEach((frame, i) => { frame.hidden = i !== at; });
    }
    const z = `z = ${stacks[0][at].dataset.z}`;
    slider.setAttribute("aria-valuetext", z);
    document.querySelector("output[for=z]").textContent = z;
  };
  slider.addEventListener("input", show);
  show();
}
