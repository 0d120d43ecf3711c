// Small helpers that build and find elements; nothing here knows about scans.

/** Make an element. Strings among the children become text, never HTML. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const find = (selector) => document.querySelector(selector);

/** Put other children into an element; what had the focus among them has it again, for those who use the keyboard. */
export function fill(element, ...children) {
  const held = element.contains(document.activeElement) && document.activeElement !== element && called(document.activeElement);
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  if (held) [...element.querySelectorAll("button, input, select")].find((one) => called(one) === held)?.focus({ preventScroll: true });
}

const called = (one) => [one.tagName, one.id, ...Object.values(one.dataset), one.getAttribute("aria-label"), one.title,
  one.closest("label")?.textContent].join("|");

/** The volume of a structure, its area in a 2D image, or its pixels where nobody knows how large they are. */
export function size({ ml, mm2, pixels }) {
  const [number, text] = pixels !== undefined ? [pixels, `${pixels} pixels`] : [mm2, `${mm2?.toFixed(1)} mm²`];
  if (number === null || number === undefined) return millilitres(ml);
  return number === 0 ? "not found" : text;
}

/** Volumes as a radiologist writes them: two decimals below 10 mL, one below 100, none above. */
function millilitres(ml) {
  if (ml === null || ml === undefined) return "";
  if (ml === 0) return "not found";
  return `${ml.toFixed(ml < 10 ? 2 : ml < 100 ? 1 : 0)} mL`;
}

export const plural = (number, noun) => `${number.toLocaleString("en-GB")} ${noun}${number === 1 ? "" : "s"}`;

export const percent = (share) => (share === null || share === undefined ? "" : `${Math.round(share * 100)} %`);

/** The server's messages as sentences; one that begins with the name of a file keeps it as it is. */
export const sentence = (text) => {
  if (!text) return "";
  const shown = /^\S*[._/]\S/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(shown) ? shown : `${shown}.`;
};

/** Any CSS colour or [r, g, b] as [r, g, b] from 0 to 255. */
export function rgb(color) {
  if (Array.isArray(color)) return color.slice(0, 3);
  const digits = /^#?([0-9a-f]{6})$/i.exec(String(color));
  if (!digits) return [230, 60, 60];
  const number = parseInt(digits[1], 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
}

/** A message that goes away by itself; `kind` is good, look or bad. */
export function toast(text, kind = "good") {
  const note = h("div", { class: `toast ${kind}`, role: kind === "bad" ? "alert" : "status" }, text);
  find("#toasts").append(note);
  setTimeout(() => note.remove(), kind === "good" ? 4000 : 9000);
}

/** Ask with buttons; resolves to the value of the button, or null for Escape. */
export function ask(title, body, buttons) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { class: "ask", "aria-label": title },
      h("h2", {}, title), ...[body].flat().map((part) => (typeof part === "string" ? h("p", {}, part) : part)),
      h("div", { class: "buttons" }, buttons.map(([value, label, kind]) =>
        h("button", { class: kind || "", type: "button", "data-value": String(value), onclick: () => done(value) }, label))));
    const done = (value) => { dialog.close(); dialog.remove(); resolve(value); };
    dialog.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey || event.target.matches("input, select"))) return;
      event.preventDefault();
      dialog.querySelector("button.primary")?.click();
    });
    dialog.addEventListener("cancel", (event) => { event.preventDefault(); done(null); });
    document.body.append(dialog);
    dialog.showModal();
    dialog.scrollTop = 0;
  });
}
