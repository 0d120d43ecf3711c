// The tools above the picture, with what each needs.
import { fill, find, h } from "./dom.js";
import { PLANES } from "./niivue_adapter.js";
import { length } from "./rulers.js";

const TOOLS = [
  ["look", "Look", "v", "Click or drag to move the cursor; wheel: slices; right button: window; Shift and drag: move."],
  ["pen", "Pen", "d", "Draw the chosen structure. Locked structures stay as they are."],
  ["filled", "Filled pen", "f", "Draw around an area: the line is closed and filled."],
  ["eraser", "Eraser", "e", "Erase the chosen structure, and no other."],
  ["slices", "Slices", "s", "Redraw a few slices of a plane."],
  ["click", "Click", "g", "Click where the structure is missing or too large; only the surroundings change."],
  ["island", "Island", "y", "Click on a separate piece of the structure to remove it, or to keep nothing but it."],
  ["fill", "Fill holes", "⇧F", "Fill what the structure encloses."],
  ["smooth", "Smooth", "⇧S", "Smooth the border in 3D: parts below the radius go."],
  ["ruler", "Ruler", "⇧R", "Drag from point to point to measure in the plane."],
];
const PROJECTIONS = ["CR", "DX", "IO", "MG", "PX", "RF", "RG", "XA"]; // DICOM's modalities of projection images

export function drawTools(app) {
  const buttons = TOOLS.map(([tool, label, key, help]) => h("button", {
    type: "button", "data-tool": tool, "aria-pressed": String(app.tool === tool), disabled: !app.picture, title: `${help} (${key})`,
    onclick: () => setTool(app, tool),
  }, label, " ", h("kbd", {}, key)));
  const act = (name, label, key, disabled) => h("button", {
    type: "button", "data-act": name, title: key, disabled, onclick: () => toolActions(app)[name](),
  }, label);
  const unsaved = app.strokes?.unsaved;
  fill(find("#tools"), h("span", { class: "group" }, buttons), h("span", { class: "group" },
    act("undo", "Undo", "Ctrl+Z", !(unsaved || app.scan.can_undo)),
    act("redo", "Redo", "Ctrl+Y", !(app.strokes?.undone.length || (!unsaved && app.scan.can_redo))),
    act("save", "Save", "Ctrl+S", !unsaved)));
  drawHelp(app);
}

function penControls(app) {
  if (app.preview) return null; // nothing is drawn then, and the preview needs the room
  const over = h("input", { type: "checkbox", checked: app.pen.over, onchange: () => toggleOver(app) });
  return [app.drawing() ? h("label", {}, "Size ", h("input", {
    type: "range", min: 1, max: 41, step: 2, value: app.pen.size, "aria-label": "Size of the pen in voxels",
    oninput: (event) => { setSize(app, Number(event.target.value)); },
  }), h("output", { id: "size" }, app.pen.size)) : null,
  app.drawing() || ["slices", "click", "fill", "smooth"].includes(app.tool) ? h("label", { title: "b" }, over, " over others") : null];
}

function toggleOver(app) {
  app.pen.over = !app.pen.over;
  app.corrections.askAgain({ over: app.pen.over });
  drawTools(app);
}

function setSize(app, value) {
  app.pen.size = Math.min(41, Math.max(1, value));
  const shown = find("#size");
  if (shown) {
    shown.textContent = app.pen.size;
    shown.previousElementSibling.value = app.pen.size;
  }
  app.redrawOverlay();
}

function drawHelp(app) {
  const [, , , help] = TOOLS.find(([tool]) => tool === app.tool);
  const name = app.chosen && !["look", "ruler"].includes(app.tool) ? h("b", {}, `${app.chosen.name}: `) : null;
  const controls = { island: islandControl, ruler: rulerControls }[app.tool]?.(app) ?? app.corrections.controls();
  const plane = app.drawing() ? ` ${PLANES[app.plane]} is the active plane.` : "";
  // so that the picture does not move when slices are named or a preview comes
  find("#help").className = `help ${controls && app.tool !== "ruler" ? "roomy" : ""} ${app.tool === "slices" ? "tall" : ""}`;
  fill(find("#help"), h("span", {}, name, app.corrections.begun() ? "" : [help, plane]),
    h("span", { class: "group" }, penControls(app)), controls);
}

function islandControl(app) {
  return h("button", { type: "button", "data-act": "keeps", onclick: () => toggleIsland(app) },
    app.keepsIsland ? "keep this piece alone" : "remove this piece", " ", h("kbd", {}, "r"));
}

function rulerControls(app) {
  const unsized = app.scan.sized ? null : "Nothing says how large a pixel is: lengths are in pixels.";
  const projected = app.scan.sized && PROJECTIONS.includes(app.scan.modality?.toUpperCase())
    ? "Millimetres hold in the plane that the header states, often the detector's." : null;
  const lengths = app.rulers.map((one) => h("b", {}, length(app, one)));
  return h("span", { class: "group" }, unsized ?? projected, lengths, app.rulers.length ? h("button", {
    type: "button", "data-act": "clear", onclick: () => app.setRulers([]) }, "Clear ", h("kbd", {}, "Esc")) : null);
}

function toggleIsland(app) {
  app.keepsIsland = !app.keepsIsland;
  drawTools(app);
}

function setTool(app, tool) {
  if (app.tool === tool || !app.mask) return;
  app.corrections.leave();
  app.tool = tool;
  app.corrections.enter(tool);
  find("#over").className = app.drawing() ? "over tool" : "over"; // the brush is the pointer then
  drawTools(app);
  app.redrawOverlay();
}

export function toolActions(app) {
  const choose = (tool) => () => setTool(app, tool);
  const thicken = (step) => () => (app.tool === "smooth" ? app.corrections.setSmoothing(step) : setSize(app, app.pen.size + 2 * step));
  return {
    ...app.display,
    look: choose("look"), pen: choose("pen"), filled: choose("filled"), eraser: choose("eraser"), slices: choose("slices"),
    click: choose("click"), island: choose("island"), fill: choose("fill"), smooth: choose("smooth"), ruler: choose("ruler"),
    thinner: thicken(-1), thicker: thicken(1), over: () => toggleOver(app),
    addRemove: () => (app.tool === "island" ? toggleIsland(app) : app.corrections.toggleAdding()),
    apply: () => app.corrections.apply(),
    cancel: () => {
      if (app.corrections.busy()) app.corrections.cancel();
      else if (app.tool === "ruler" && app.rulers.length) app.setRulers([]);
      else setTool(app, "look");
    },
    undo: () => app.undo(), redo: () => app.undo(true), save: () => app.saving.save({ told: true }),
  };
}
