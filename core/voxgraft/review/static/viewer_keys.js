// What each key of the viewer does, and the buttons at the top.
import { find } from "./dom.js";
import { listen, sheet } from "./keys.js";
import { VIEWER } from "./keys_table.js";
import { addNote } from "./notes.js";
import { drawStructures } from "./structures.js";
import { toolActions } from "./tools.js";

export function prepareKeys(app) {
  const structure = (step) => () => {
    const at = app.structures.indexOf(app.chosen);
    const next = app.structures[Math.max(0, Math.min(app.structures.length - 1, at + step))];
    if (next) app.choose(next, true);
  };
  const verdict = (name) => () => app.chosen && app.decide(app.chosen, name);
  const slice = (step) => () => app.moveSlice(app.plane, step);
  const actions = {
    ...toolActions(app),
    next: () => app.toScan("next"), previous: () => app.toScan("previous"), nextOpen: () => app.toScan("next_open"),
    worklist: () => app.leave("/"),
    structureDown: structure(1), structureUp: structure(-1), centre: () => app.centre(),
    accept: verdict("accepted"), correct: verdict("corrected"), reject: verdict("rejected"), unassessable: verdict("not-assessable"),
    acceptScan: () => app.decide(null, "accepted"), rejectScan: () => app.decide(null, "rejected"),
    hide: () => app.chosen && app.toggleShown(app.chosen),
    only: () => {
      const alone = app.structures.every((one) => one.visible === (one === app.chosen));
      app.structures.forEach((one) => { one.visible = alone || one === app.chosen; });
      app.applyColors();
      drawStructures(app);
    },
    lock: () => app.chosen && app.toggleLock(app.chosen),
    sliceUp: slice(1), sliceDown: slice(-1), sliceUpTen: slice(10), sliceDownTen: slice(-10),
    note: () => addNote(app), sheet: () => sheet(VIEWER),
  };
  listen(VIEWER, actions);
  find("#keys").addEventListener("click", actions.sheet);
  find("#next").addEventListener("click", actions.next);
  find("#previous").addEventListener("click", actions.previous);
  find("#back").addEventListener("click", (event) => { event.preventDefault(); actions.worklist(); });
  addEventListener("beforeunload", (event) => {
    if (app.leaving || !(app.strokes?.unsaved || app.saving.waiting.length)) return;
    app.saving.keepDraft(true);
    event.preventDefault();
  });
}
