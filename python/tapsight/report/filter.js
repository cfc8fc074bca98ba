const rows = [...document.querySelectorAll("#verdict-table tbody tr")];
const buttons = [...document.querySelectorAll("button[data-verdict]")];
const search = document.getElementById("search");
const shown = document.getElementById("shown");
function filter() {
  const words = new Set(buttons.filter((b) => b.getAttribute("aria-pressed") === "true").map((b) => b.dataset.verdict));
  const text = search.value.toLowerCase();
  let count = 0;
  for (const row of rows) {
    const isShown = words.has(row.dataset.verdict) && row.textContent.toLowerCase().includes(text);
    row.hidden = !isShown;
    count += isShown;
  }
  shown.textContent = `${count} of ${rows.length}`;
}
for (const button of buttons) {
  button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    filter();
  });
}
search.addEventListener("input", filter);
filter();
// On paper all is there.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
