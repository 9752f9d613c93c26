// The opened picture: a dialog over the cells of this page. `shown()` are the numbers of the cells that can be stepped
// through; what is said of a picture stands in the JSON of the page.
"use strict";
const Opened = (() => {
  const { columns, items } = JSON.parse(document.getElementById("items").textContent);
  const $ = (id) => document.getElementById(id);
  const dialog = $("opened"), prompt = columns.indexOf("prompt");
  let shown = () => items.map((_, number) => number);
  let current = 0, opener = null;

  function open(number) {
    current = number;
    const cell = document.querySelector(`.cell[data-n="${number}"]`), pictures = cell.querySelectorAll("img, .none");
    if ($("opened-page")) $("opened-page").href = cell.querySelector("a").href;
    show($("opened-picture"), pictures[0]);
    if ($("opened-beside")) show($("opened-beside"), pictures[1]);
    $("opened-title").textContent = items[number][prompt] ?? "";
    $("opened-values").replaceChildren(...columns.flatMap((name, column) =>
      items[number][column] === null || column === prompt ? [] : [term(name), value(items[number][column])]));
    $("opened-place").textContent = `${shown().indexOf(number) + 1} of ${shown().length}`;
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }

  function show(image, picture) {
    image.hidden = !picture || picture.tagName !== "IMG";
    if (!image.hidden) { image.src = picture.dataset.full ?? picture.src; image.alt = picture.alt; }
  }

  function term(name) {
    const dt = document.createElement("dt");
    dt.textContent = name;
    return dt;
  }

  function value(text) {
    const dd = document.createElement("dd"), bdi = document.createElement("bdi");
    bdi.textContent = text;
    dd.append(bdi);
    return dd;
  }

  function to(place) {
    const number = shown()[place];
    if (number !== undefined && number !== current) open(number);
  }

  const here = () => shown().indexOf(current);
  const steps = { ArrowLeft: () => here() - 1, ArrowRight: () => here() + 1, Home: () => 0, End: () => shown().length - 1 };

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".cell [data-n]");
    const elsewhere = button?.href && (event.ctrlKey || event.metaKey || event.shiftKey);
    if (button && !elsewhere) { event.preventDefault(); opener = button; open(Number(button.dataset.n)); }
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => opener?.focus());
  dialog.addEventListener("keydown", (event) => {
    if (event.key in steps) { event.preventDefault(); to(steps[event.key]()); }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !dialog.open && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      $("search").focus();
    }
  });
  $("before").addEventListener("click", () => to(here() - 1));
  $("next").addEventListener("click", () => to(here() + 1));
  return { among: (numbers) => { shown = numbers; } };
})();
