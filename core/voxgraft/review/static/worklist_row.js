// One row of the worklist: picture, what finds the scan, flags, structures, and what was decided.
import { h, percent, plural, size } from "./dom.js";
import { VERDICTS } from "./structures.js";

export const REVIEW = {
  open: ["○", "not reviewed", "wait"], started: ["◐", "begun", "look"], reviewed: ["✓", "reviewed", "good"],
};
export const BATCH = {
  failed: ["✕", "failed", "bad"], waiting: ["…", "waiting", "wait"], running: ["▸", "running", "wait"],
  "left-out": ["–", "left out", "wait"],
};

export const link = (scan) => `/scan/${encodeURIComponent(scan.case)}`;
export const opens = (scan) => scan.review_state !== "";

/** The row of one scan; `chosen` is called when it is clicked. */
export function drawRow(scan, number, chosen) {
  const [sign, text, kind] = REVIEW[scan.review_state] ?? BATCH[scan.state] ?? ["", scan.state, "wait"];
  const failed = scan.state === "failed" ? BATCH.failed : null;
  const [tagSign, tagText, tagKind] = failed ?? [sign, text, kind];
  const facts = [scan.accession && `Acc. ${scan.accession}`, scan.study_date, scan.description].filter(Boolean).join(" · ");
  const row = h("div", {
    class: `row ${failed ? "bad" : scan.flags.length ? "look" : "good"}`, role: "option", id: `row-${number}`,
    "data-case": scan.case, onclick: chosen,
  },
  h("div", { class: "picture" }, scan.preview
    ? h("img", { src: scan.preview, alt: `slices of ${scan.case}`, loading: "lazy", draggable: "false" })
    : h("span", { class: "small" }, "no picture")),
  h("div", { class: "what" },
    h("div", { class: "case" }, opens(scan) ? h("a", { href: link(scan), tabindex: "-1" }, scan.case) : scan.case),
    h("div", { class: "small soft facts", title: facts }, facts),
    h("div", { class: "tags" }, h("span", { class: `tag ${tagKind}` }, `${tagSign} ${tagText}`),
      scan.assigned ? h("span", { class: "tag wait" }, scan.assigned) : null)),
  h("div", { class: "flags small" }, flags(scan)),
  h("div", { class: "found small" }, found(scan)),
  h("div", { class: "decided small" }, decided(scan)));
  return row;
}

function flags(scan) {
  if (scan.error) return h("div", { class: "clip", title: scan.error }, scan.error);
  if (!scan.flags.length) return scan.state === "done" ? h("span", { class: "soft" }, "no flag") : null;
  const shown = scan.flags.slice(0, 3).map((flag) => h("div", { class: "flag", title: flag.message }, "▲ ", flag.message));
  return [shown, more(scan.flags.length - 3, scan.flags.map((flag) => flag.message))];
}

const more = (number, all) => (number > 0 ? h("div", { class: "soft", title: all.join("\n") }, `and ${number} more`) : null);

function found(scan) {
  const least = [...scan.structures].sort((a, b) => (a.confidence ?? 2) - (b.confidence ?? 2)).slice(0, 4);
  const rows = least.map((one) => h("div", { class: "pair" }, h("span", { class: "clip" }, one.name),
    h("span", { class: "number" }, size(one)),
    h("span", { class: one.confidence !== null && one.confidence < 0.8 ? "number low-sure" : "number soft" }, percent(one.confidence))));
  return [rows, more(scan.structures.length - 4, scan.structures.map((one) => `${one.name} ${size(one)}`))];
}

function decided(scan) {
  const groups = new Map();
  for (const one of scan.decided) {
    const key = `${one.verdict}|${one.reader}|${one.structure === ""}`;
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  const rows = [...groups.values()].map((ones) => {
    const [{ verdict, reader, structure, reason }] = ones;
    const [sign, text] = VERDICTS[verdict] ?? ["", verdict];
    const what = structure === "" ? "whole scan" : ones.length > 2 ? plural(ones.length, "structure") : ones.map((one) => one.structure).join(", ");
    return h("div", { class: "flag-lines", title: ones.map((one) => one.structure).join(", ") },
      `${sign} ${what} ${text}${reason ? `: ${reason}` : ""}`, h("span", { class: "soft" }, ` · ${reader}`));
  });
  return [rows.slice(0, 4), more(rows.length - 4, [])];
}
