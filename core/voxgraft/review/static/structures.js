// The list of structures: colour, name, volume, whether shown and locked, and the verdict on each.
import { ask, fill, find, h, percent, size } from "./dom.js";

export const VERDICTS = {
  accepted: ["✓", "accepted", "good"],
  corrected: ["✎", "corrected", "good"],
  rejected: ["✕", "rejected", "bad"],
  "not-assessable": ["?", "not assessable", "look"],
};

export function verdictTag(verdict, reason) {
  const [sign, text, kind] = VERDICTS[verdict] ?? ["○", "open", "wait"];
  return h("span", { class: `tag ${kind}`, title: reason || undefined }, `${sign} ${text}${reason ? `: ${reason}` : ""}`);
}

const BUTTONS = [
  ["accepted", "✓ Accept", "a"], ["corrected", "✎ Corrected", "c"], ["rejected", "✕ Reject …", "x"],
  ["not-assessable", "? Not assessable", "u"],
];

export function drawStructures(app) {
  fill(find("#structures"),
    app.structures.map((structure, number) => row(app, structure, number)),
    app.structures.length ? null : h("p", { class: "soft" }, app.scan.mask_error ? "There is no mask." : "The mask names no structure."));
}

function row(app, structure, number) {
  const chosen = structure === app.chosen;
  const toggle = (name, on, off, action, state) => h("button", {
    type: "button", class: "icon", title: name, "aria-label": name, "aria-pressed": String(state),
    onclick: (event) => { event.stopPropagation(); action(); },
  }, state ? on : off);
  const head = h("div", { class: "head" },
    h("i", { class: structure.visible ? "swatch" : "swatch off", style: { background: `rgb(${structure.rgb})` } }),
    h("button", { type: "button", class: "name", "aria-pressed": String(chosen), "data-structure": structure.name }, structure.name),
    toggle(structure.visible ? `Hide ${structure.name}` : `Show ${structure.name}`, "shown", "hidden",
      () => app.toggleShown(structure), structure.visible),
    toggle(structure.locked ? `Unlock ${structure.name}` : `Lock ${structure.name}`, "locked", "lock",
      () => app.toggleLock(structure), structure.locked));
  const state = h("div", { class: "state small" }, verdictTag(structure.verdict, structure.reason),
    h("span", { class: "ml" }, size(structure)), confidence(structure), structure.edited ? h("span", { class: "soft" }, "changed, not saved") : null);
  return h("div", {
    class: chosen ? "structure chosen" : "structure", "data-name": structure.name, "aria-current": chosen ? "true" : null,
    onclick: () => app.choose(structure, true),
  }, head, state, chosen ? verdicts(app, structure) : null);
}

function confidence({ confidence: sure }) {
  if (sure === null || sure === undefined) return null;
  return h("span", { class: sure < 0.8 ? "small low-sure" : "small soft" }, `confidence ${percent(sure)}`);
}

export function verdicts(app, structure) {
  const decide = (verdict) => (event) => { event.stopPropagation(); app.decide(structure, verdict); };
  const now = structure ? structure.verdict : app.wholeVerdict?.verdict;
  return h("div", { class: "verdicts" },
    BUTTONS.filter(([verdict]) => structure || (verdict !== "corrected" && (verdict !== "accepted" || app.scan.state !== "failed"))).map(([verdict, label, key]) => h("button", {
      type: "button", "data-verdict": verdict, "aria-pressed": String(now === verdict), onclick: decide(verdict),
      title: structure ? `${VERDICTS[verdict][1]} (${key})` : VERDICTS[verdict][1],
    }, label)),
    now ? h("button", { type: "button", "data-verdict": "reopened", onclick: decide("reopened") }, "Open again") : null);
}

/** Ask why a structure is rejected; null where the reader thinks better of it. */
export async function askReason(name, reasons) {
  const choice = h("select", { "aria-label": "Reason" }, reasons.map((reason) => h("option", {}, reason)));
  const note = h("input", { type: "text", placeholder: "remark (optional)", maxlength: 500 });
  const answer = ask(`Reject ${name}`, [h("label", {}, "Reason ", choice), h("label", {}, "Remark ", note)],
    [[true, "Reject", "primary"], [null, "Cancel"]]);
  choice.focus();
  return (await answer) ? { reason: choice.value, note: note.value.trim() } : null;
}
