(function () {
  "use strict";
  const every = function (query, root) { return Array.from((root || document).querySelectorAll(query)); };

  function valueOf(cell) {
    return cell === undefined ? "" : cell.dataset.value !== undefined ? cell.dataset.value : cell.textContent.trim();
  }
  function sort(table, head, up) {
    const place = head.cellIndex, body = table.tBodies[0];
    const rows = Array.from(body.rows).map(function (row, number) {
      return { row: row, number: number, value: valueOf(row.cells[place]), total: row.classList.contains("total") };
    });
    const numeric = rows.every(function (one) { return one.total || one.value === "" || !isNaN(Number(one.value)); });
    rows.sort(function (a, b) {
      if (a.total !== b.total) return a.total ? 1 : -1;
      if ((a.value === "") !== (b.value === "")) return a.value === "" ? 1 : -1;
      const order = numeric ? Number(a.value) - Number(b.value) : a.value.localeCompare(b.value, undefined, { numeric: true });
      return (up ? order : -order) || a.number - b.number;
    });
    const all = document.createDocumentFragment();
    rows.forEach(function (one) { all.appendChild(one.row); });
    body.appendChild(all);
    every("th[aria-sort]", table).forEach(function (other) { other.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
  }
  every("table.sorted th button").forEach(function (button) {
    button.addEventListener("click", function () {
      const head = button.closest("th");
      sort(button.closest("table"), head, head.getAttribute("aria-sort") !== "ascending");
    });
  });

  const find = document.getElementById("find"), shown = document.getElementById("shown");
  const states = every("button[data-state]");
  const rows = find ? Array.from(document.querySelector("table.found").tBodies[0].rows) : [];
  const texts = new Map();
  function textOf(row) {
    if (!texts.has(row)) {
      const part = find.dataset.within ? row.querySelector(find.dataset.within) : row;
      texts.set(row, (part || row).textContent.toLowerCase());
    }
    return texts.get(row);
  }
  function filter() {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = states.filter(function (button) { return button.getAttribute("aria-pressed") === "true"; })
      .map(function (button) { return button.dataset.state; });
    let number = 0;
    rows.forEach(function (row) {
      const state = !wanted.length || wanted.some(function (name) { return row.classList.contains(name); });
      row.hidden = !(state && words.every(function (word) { return textOf(row).includes(word); }));
      number += row.hidden ? 0 : 1;
    });
    if (shown) shown.textContent = number === rows.length ? "" : number + " of " + rows.length + " shown";
  }
  if (find) find.addEventListener("input", filter);
  states.forEach(function (button) {
    button.addEventListener("click", function () {
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") === "true" ? "false" : "true");
      filter();
    });
  });

  const large = document.getElementById("large"), switches = every("button[data-contours]");
  let current = null;
  function show(picture) {
    const without = document.documentElement.classList.contains("without");
    const source = picture.querySelector(without ? "img.plain" : "img.drawn") || picture.querySelector("img");
    const image = large.querySelector("img");
    current = picture;
    image.src = source.src;
    image.alt = source.alt;
    large.querySelector("h2").textContent = picture.dataset.title;
    large.querySelector("p").textContent = picture.dataset.caption || "";
    if (!large.open) large.showModal();
  }
  function step(by) {
    const all = every("button.picture").filter(function (one) { return one.offsetParent !== null; });
    const next = all[all.indexOf(current) + by];
    if (next) show(next);
  }
  function contours() {
    const without = document.documentElement.classList.toggle("without");
    switches.forEach(function (button) { button.setAttribute("aria-pressed", String(!without)); });
    if (large && large.open) show(current);
  }
  switches.forEach(function (button) { button.addEventListener("click", contours); });
  every("button.picture").forEach(function (picture) {
    picture.addEventListener("click", function () { show(picture); });
  });
  if (large) {
    every("button[data-step]", large).forEach(function (button) {
      button.addEventListener("click", function () { step(Number(button.dataset.step)); });
    });
    large.querySelector("button[data-close]").addEventListener("click", function () { large.close(); });
    large.addEventListener("click", function (event) { if (event.target === large) large.close(); });
    large.addEventListener("close", function () { if (current) current.focus(); });
  }
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target === find;
    if (event.key === "Escape" && typing && find.value) { find.value = ""; filter(); event.preventDefault(); }
    if (typing) return;
    if (event.key === "/" && find && !(large && large.open)) { find.focus(); find.select(); event.preventDefault(); }
    if (event.key.toLowerCase() === "c" && switches.length) contours();
    if (large && large.open && event.key === "ArrowLeft") step(-1);
    if (large && large.open && event.key === "ArrowRight") step(1);
  });
})();
