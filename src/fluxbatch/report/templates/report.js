// Filters, the grid, and the opened picture. Without this, the page still shows everything.
"use strict";
(() => {
  const { columns, items, axes } = JSON.parse(document.getElementById("items").textContent);
  const $ = (id) => document.getElementById(id);
  const gallery = $("cells"), grid = $("grid"), controls = $("controls"), dialog = $("opened");
  const cells = [...gallery.children];
  const at = new Map(columns.map((name, number) => [name, number]));
  const texts = items.map((values) => values.filter(Boolean).join("\n").toLowerCase());
  const values = new Map(axes.map((axis) => [axis.name, axis.values]));
  let shown = items.map((_, number) => number);
  let current = 0, opener = null;

  const matches = (number, words, wanted) =>
    words.every((word) => texts[number].includes(word)) &&
    wanted.every(([column, value]) => items[number][column] === value);

  function apply() {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = [...controls.querySelectorAll("select[data-column]")]
      .filter((select) => select.value)
      .map((select) => [at.get(select.dataset.column), values.get(select.dataset.column)[select.value - 1]]);
    shown = items.map((_, number) => number).filter((number) => matches(number, words, wanted));
    const across = $("across")?.value, down = $("down")?.value;
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
    const [x, y] = [at.get(across), at.get(down)];
    const places = new Map();
    for (const number of shown) {
      const name = JSON.stringify([items[number][x], items[number][y]]);
      places.set(name, [...(places.get(name) ?? []), number]);
    }
    const used = (column, all) => all.filter((value) => shown.some((number) => items[number][column] === value));
    const xs = used(x, values.get(across)), ys = used(y, values.get(down));
    const table = made("table"), head = made("tr"), body = made("tbody");
    table.append(made("caption", `${across} across, ${down} down`), made("thead"), body);
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

  function open(number) {
    current = number;
    const pictures = [...cells[number].querySelectorAll("img, .none")];
    show($("opened-picture"), pictures[0]);
    if ($("opened-beside")) show($("opened-beside"), pictures[1]);
    const row = items[number];
    $("opened-title").textContent = row[at.get("prompt")] ?? "";
    $("opened-values").replaceChildren(...columns.flatMap((name, column) =>
      row[column] === null || name === "prompt" ? [] : [made("dt", name), isolated(row[column])]));
    $("opened-place").textContent = `${shown.indexOf(number) + 1} of ${shown.length}`;
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }

  function show(image, picture) {
    image.hidden = !picture || picture.tagName !== "IMG";
    if (!image.hidden) { image.src = picture.src; image.alt = picture.alt; }
  }

  function isolated(text) {
    const dd = made("dd");
    dd.append(made("bdi", text));
    return dd;
  }

  function step(by) {
    const here = shown.indexOf(current);
    if (here >= 0 && shown[here + by] !== undefined) open(shown[here + by]);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".cell button");
    if (button) { opener = button; open(Number(button.dataset.n)); }
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => opener?.focus());
  dialog.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -shown.indexOf(current), End: shown.length - 1 - shown.indexOf(current) };
    if (event.key in steps && steps[event.key]) { event.preventDefault(); step(steps[event.key]); }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !dialog.open && !/^(INPUT|SELECT)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      $("search").focus();
    }
  });
  $("before").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("input", apply);
  controls.addEventListener("reset", () => setTimeout(apply));
  controls.hidden = false;
  apply();
})();
