(function () {
  const find = document.getElementById("find"), table = document.querySelector("table.sorted"), body = table.tBodies[0];
  const heads = table.querySelectorAll("th[data-sort]");
  heads.forEach(function (head) {
    head.addEventListener("click", function () {
      const key = head.dataset.sort, up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      function value(row) {
        const text = row.dataset[key];
        return text === "" ? (up ? Infinity : -Infinity) : Number(text);
      }
      Array.from(body.rows).sort(function (a, b) {
        return (value(a) - value(b)) * (up ? 1 : -1);
      }).forEach(function (row) { body.appendChild(row); });
    });
  });
  find.addEventListener("input", function () {
    const wanted = find.value.toLowerCase();
    Array.from(body.rows).forEach(function (row) {
      const searched = find.dataset.within ? row.querySelector(find.dataset.within) : row;
      row.hidden = !searched.textContent.toLowerCase().includes(wanted);
    });
  });
})();
