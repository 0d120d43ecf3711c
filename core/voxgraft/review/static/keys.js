// The keyboard: one table of keys for each page, which the sheet of keys shows as well.
import { ask, h } from "./dom.js";

const NAMES = {
  ArrowDown: "↓", ArrowUp: "↑", ArrowRight: "→", ArrowLeft: "←", PageDown: "Page down", PageUp: "Page up", Escape: "Esc",
};

/** Keys as they are written on the sheet: "ArrowDown j" becomes ["↓", "j"]. */
export const written = (keys) => keys.split(" ").map((key) => NAMES[key] ?? key);

function pressed(event) {
  const control = event.ctrlKey || event.metaKey;
  if (event.altKey) return "";
  const key = event.key === " " ? "Space" : event.key;
  if (control) return `Ctrl+${event.shiftKey && key.toLowerCase() === "z" ? "Y" : key.toUpperCase()}`;
  return /^[A-Z]$/.test(key) ? `Shift+${key}` : key;
}

/** Listen for the keys of a table. In fields and open dialogs they type text, except Escape and keys with Ctrl. */
export function listen(table, actions) {
  const byKey = new Map(table.flatMap(([keys, , name]) => keys.split(" ").map((key) => [key, name])));
  document.addEventListener("keydown", (event) => {
    const key = pressed(event);
    const name = byKey.get(key);
    if (!name || !actions[name] || document.querySelector("dialog[open]")) return;
    const target = event.target;
    const typing = target.matches("input:not([type=range]):not([type=checkbox]), textarea, select");
    if (typing && key !== "Escape" && !key.startsWith("Ctrl+")) return;
    if (["Enter", "Space"].includes(key) && target.matches("button, a, summary, input")) return;
    if (target.matches("input[type=range]") && key.startsWith("Arrow")) return;
    event.preventDefault();
    actions[name](event);
  });
}

/** Show the sheet of keys. */
export function sheet(table) {
  const rows = table.map(([keys, text]) => h("div", { class: "key-row" },
    h("span", { class: "pressed" }, written(keys).map((key) => h("kbd", {}, key))), h("span", {}, text)));
  return ask("Keys", h("div", { class: "key-sheet" }, rows), [[true, "Close"]]);
}
