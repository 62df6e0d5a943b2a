// Makes the columns of long tables sortable; without it they stand in the order of their file.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const number = head.classList.contains("number");
      const keyed = [...body.rows].map((row) => {
        const cell = row.cells[index];
        return [number ? parseFloat(cell.dataset.value ?? "NaN") : cell.textContent, row];
      });
      keyed.sort(([a], [b]) => {
        if (!number) return sign * a.localeCompare(b, "en", { numeric: true });
        if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b); // undefined values last, either way
        return sign * (a - b);
      });
      body.append(...keyed.map(([, row]) => row));
    });
  });
}
