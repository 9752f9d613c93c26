// Filters and the grid. Without this, the page still shows everything.
(() => {
  const { columns, items, axes } = JSON.parse(document.getElementById("items").textContent);
  const $ = (id) => document.getElementById(id);
  const gallery = $("cells"), grid = $("grid"), controls = $("controls");
  const cells = [...gallery.children];
  const at = new Map(columns.map((name, number) => [name, number]));
  const texts = items.map((values) => values.filter(Boolean).join("\n").toLowerCase());
  let shown = items.map((_, number) => number);

  const matches = (number, words, wanted) =>
    words.every((word) => texts[number].includes(word)) &&
    wanted.every(([column, value]) => items[number][column] === value);

  function apply() {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = [...controls.querySelectorAll("select[data-axis]")]
      .filter((select) => select.value)
      .map((select) => [axes[select.dataset.axis], select.value - 1])
      .map(([axis, place]) => [at.get(axis.name), axis.values[place]]);
    shown = items.map((_, number) => number).filter((number) => matches(number, words, wanted));
    const across = axes[$("across")?.value], down = axes[$("down")?.value];
    gallery.append(...cells);
    if (across && down && across !== down) lay(across, down); else list();
    $("told").textContent = `${shown.length.toLocaleString("en")} of ${items.length.toLocaleString("en")} pictures`;
  }

  function list() {
    const wanted = new Set(shown);
    cells.forEach((cell, number) => { cell.hidden = !wanted.has(number); });
    gallery.hidden = false;
    grid.hidden = true;
    grid.replaceChildren();
  }

  const made = (name, text, scope) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (scope) element.scope = scope;
    return element;
  };

  // Each cell of the table takes the pictures that have both values; at most four are shown.
  function lay(across, down) {
    const [x, y] = [at.get(across.name), at.get(down.name)];
    const places = new Map();
    for (const number of shown) {
      const name = JSON.stringify([items[number][x], items[number][y]]);
      places.set(name, [...(places.get(name) ?? []), number]);
    }
    const used = (column, all) => all.filter((value) => shown.some((number) => items[number][column] === value));
    const xs = used(x, across.values), ys = used(y, down.values);
    const table = made("table"), head = made("tr"), body = made("tbody");
    table.append(made("caption", `${across.name} across, ${down.name} down`), made("thead"), body);
    table.tHead.append(head);
    head.append(made("td"), ...xs.map((value) => heading(value)));
    for (const value of ys) {
      const row = made("tr");
      row.append(made("th", value, "row"));
      for (const other of xs) row.append(place(places.get(JSON.stringify([other, value])) ?? []));
      body.append(row);
    }
    cells.forEach((cell) => { cell.hidden = true; });
    table.querySelectorAll(".cell").forEach((cell) => { cell.hidden = false; });
    gallery.hidden = true;
    grid.hidden = false;
    grid.replaceChildren(table);
  }

  function heading(value) {
    const th = made("th", undefined, "col"), span = made("span", value);
    span.title = value;
    th.append(span);
    return th;
  }

  function place(numbers) {
    const td = made("td"), few = made("div");
    few.className = numbers.length > 1 ? "" : "one";
    few.append(...numbers.slice(0, 4).map((number) => cells[number]));
    if (numbers.length > 4) {
      const more = made("p", `and ${numbers.length - 4} more`);
      more.className = "more";
      few.append(more);
    }
    td.append(few);
    return td;
  }

  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("input", apply);
  controls.addEventListener("reset", () => setTimeout(apply));
  controls.hidden = false;
  Opened.among(() => shown);
  apply();
})();
