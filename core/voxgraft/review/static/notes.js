// Notes, pinned to a place of the scan or to none.
import { Refused, Unreachable, send } from "./api.js";
import { ask, fill, find, h, sentence, toast } from "./dom.js";

/** Draw the list; a click on a note jumps to its place. */
export function drawNotes(app) {
  const rows = app.notes.map((note, number) => h("div", {
    class: note === app.chosenNote ? "note chosen" : "note", onclick: () => jump(app, note),
  },
  h("b", {}, note.place_mm ? `${number + 1}` : "·"),
  h("div", {}, h("button", { type: "button", class: "text", title: "Go to its place" }, note.text),
    h("div", { class: "small soft" }, [note.reader, note.structure, note.when.slice(0, 16).replace("T", " ")].filter(Boolean).join(" · "))),
  note.reader === app.session.reader
    ? h("button", { type: "button", class: "icon", title: "Remove note", "aria-label": "Remove note",
      onclick: (event) => { event.stopPropagation(); remove(app, note); } }, "remove") : null));
  fill(find("#notes"), rows,
    h("button", { type: "button", onclick: () => addNote(app) }, "Note at the cursor ", h("kbd", {}, "t")));
}

function jump(app, note) {
  app.chosenNote = note;
  if (note.place_mm && app.picture) app.setCursor(app.fromMillimetres(note.place_mm));
  drawNotes(app);
}

export async function addNote(app) {
  const place = app.picture?.cursor;
  const text = h("textarea", { rows: 3, maxlength: 2000, "aria-label": "Text" });
  const pinned = h("input", { type: "checkbox", checked: Boolean(place), disabled: !place });
  const answer = ask("Note", [text, h("label", {}, pinned, " pinned to the cursor")],
    [[true, "Add note", "primary"], [null, "Cancel"]]);
  text.focus();
  if (!(await answer) || !text.value.trim()) return;
  const body = {
    text: text.value.trim(), place_mm: pinned.checked ? app.toMillimetres(place) : null,
    structure: app.chosen ? app.chosen.name : "",
  };
  await attempt(app, () => send("POST", app.url("notes"), body));
}

const remove = (app, note) => attempt(app, () => send("DELETE", app.url(`notes/${encodeURIComponent(note.id)}`)));

async function attempt(app, action) {
  try {
    await action();
    await app.refreshScan();
  } catch (error) {
    if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
    toast(sentence(error.message), "bad");
  }
}
