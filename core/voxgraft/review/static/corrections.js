// Corrections that the server computes: slices that become a volume, clicks, holes, borders. Previewed, then applied.
import { Refused, Unreachable, send } from "./api.js";
import { h, plural, sentence, toast } from "./dom.js";
import { PLANES } from "./niivue_adapter.js";
import { decodePreview } from "./preview.js";
import { drawTools } from "./tools.js";

const AXIS_OF_PLANE = [2, 1, 0];
const FILLED = ["in 3D", "slice by slice", "this slice"];
const SMOOTHED = ["median", "gaussian"];

export class Corrections {
  constructor(app) {
    this.app = app;
    this.points = [];
    this.adding = true;
    this.erasing = false;
    this.reach = 30;
    this.radius = 20;
    this.filled = FILLED[0];
    this.kind = SMOOTHED[0];
    this.smoothing = 3;
    this.working = null;
    this.savedSlices = [];
    this.slicesOf = new Map(); // by the hash of a saved mask: undo and redo come back to it
  }

  enter() {
    this.points = [];
    this.erasing = false;
  }

  leave() { if (this.busy()) this.cancel(); }

  /** Whether the reader has seen how the tool works: then its controls need the room. */
  begun() { return this.busy() || (this.app.tool === "slices" && this.redrawn().length > 0); }

  busy() { return this.app.preview !== null || this.points.length > 0; }

  changedStructure() { this.leave(); }

  unit() { return this.app.scan.sized ? "mm" : "pixels"; }

  /** Strokes were saved: the slices they redrew still wait for what lies between them. */
  saved(strokes) {
    this.savedSlices.push(...strokes.map((one) => this.sliceOf(one)).filter(Boolean));
    this.slicesOf.set(this.app.base, [...this.savedSlices]);
  }

  /** The mask is another one now: only what was redrawn when it was saved counts as redrawn. */
  changedMask() { this.savedSlices = [...(this.slicesOf.get(this.app.base) ?? [])]; }

  cancel() {
    this.app.preview = null;
    this.points = [];
    this.asked = (this.asked ?? 0) + 1;
    this.app.redrawOverlay();
    drawTools(this.app);
  }

  // Slices

  /** Structure, axis and position of the slice that a stroke was drawn on; null for other changes. */
  sliceOf({ index, label, axis }) {
    return axis === undefined || !index.length ? null : { label, axis, at: this.app.grid.place(index[0])[axis] };
  }

  /** Slices of the active plane that were redrawn, in the picture's voxels. */
  redrawn() {
    const { app } = this;
    const axis = AXIS_OF_PLANE[app.plane];
    const all = [...this.savedSlices, ...(app.strokes?.done ?? []).map((one) => this.sliceOf(one))];
    const fits = all.filter((one) => one && one.label === app.chosen?.code && one.axis === axis);
    return [...new Set(fits.map((one) => one.at))].sort((a, b) => a - b);
  }

  inFile(axis, position) {
    const place = [0, 0, 0];
    place[axis] = position;
    const fileAxis = this.app.grid.axes[axis];
    return [fileAxis, this.app.grid.fileVoxel(place)[fileAxis]];
  }

  async previewSlices() {
    const { app } = this;
    const axis = AXIS_OF_PLANE[app.plane];
    const slices = this.redrawn();
    if (!slices.length) return toast(`Redraw ${app.chosen.name} on at least one slice first.`, "look");
    return this.preview("propagate", { axis: this.inFile(axis, 0)[0], reach_mm: this.reach, over: app.pen.over,
      slices: slices.map((position) => this.inFile(axis, position)[1]).sort((a, b) => a - b) });
  }

  // Holes and borders

  previewFill() {
    const axis = AXIS_OF_PLANE[this.app.plane];
    const [fileAxis, index] = this.inFile(axis, this.app.picture.cursor[axis]);
    const where = { "in 3D": {}, "slice by slice": { axis: fileAxis }, "this slice": { axis: fileAxis, slice: index } };
    return this.preview("fill", { ...where[this.filled], over: this.app.pen.over });
  }

  previewSmooth() { return this.preview("smooth", { kind: this.kind, radius_mm: this.smoothing, over: this.app.pen.over }); }

  setSmoothing(step) {
    this.smoothing = Math.min(15, Math.max(0.5, this.smoothing + step / 2));
    this.askAgain({ radius_mm: this.smoothing });
    drawTools(this.app);
  }

  // Clicks

  toggleAdding() {
    const { tool } = this.app;
    const other = (all, one) => all[(all.indexOf(one) + 1) % all.length];
    if (tool === "slices") this.erasing = !this.erasing;
    else if (tool === "fill") this.choose({ filled: other(FILLED, this.filled) });
    else if (tool === "smooth") this.choose({ kind: other(SMOOTHED, this.kind) });
    else this.adding = !this.adding;
    drawTools(this.app);
  }

  async addPoint(place) {
    const { app } = this;
    if (!app.chosen) return;
    if (app.chosen.locked) return void app.rules();
    this.points.push({ place, add: this.adding });
    app.setCursor(place);
    return this.preview("click", { radius_mm: this.radius, over: app.pen.over,
      points: this.points.map((point) => ({ index: app.grid.fileVoxel(point.place), add: point.add })) });
  }

  // All of them

  walls() { return this.app.structures.filter((one) => one.locked).map((one) => one.value); }

  /** Save what is drawn, and ask for a preview of a correction of the chosen structure. */
  async preview(path, body) {
    const { app } = this;
    if (!app.chosen) return;
    if (app.chosen.locked) return void app.rules();
    this.request = { path, body: { label: app.chosen.value, locked: this.walls(), ...body } };
    if (!(await app.saving.save())) return this.cancel();
    return this.ask();
  }

  /** What the reader chooses otherwise while a preview is shown is previewed anew. */
  askAgain(changes) {
    if (!this.busy()) return undefined;
    Object.assign(this.request.body, changes);
    return this.ask();
  }

  choose(changes) {
    Object.assign(this, changes);
    if (this.app.preview) PREVIEWS[this.app.tool](this);
    else drawTools(this.app);
  }

  /** Ask for a preview of what is wanted now; an answer that comes after another question is dropped. */
  async ask() {
    const { app } = this;
    const number = this.asked = (this.asked ?? 0) + 1;
    const structure = app.chosen;
    this.working = number;
    drawTools(app);
    try {
      const answer = await send("POST", app.url(this.request.path), { ...this.request.body, mask: app.base, commit: false });
      if (number !== this.asked) return;
      if (!answer.changed) {
        app.preview = null;
        toast("Nothing would change.", "look");
      } else {
        app.preview = { ...decodePreview(answer, app.grid, app.codes), label: structure.code, changed: answer.changed };
      }
    } catch (error) {
      if (error instanceof Unreachable) toast("The server does not answer; ask for the preview again when it is back.", "bad");
      else if (error instanceof Refused) {
        this.cancel(); // else the click that was refused would spoil the next ones
        await app.refused(error);
      }
      else throw error;
    } finally {
      if (this.working === number) this.working = null;
      app.redrawOverlay();
      drawTools(app);
    }
  }

  /** Apply what the preview shows; the server saves it. Where there is none yet, show it. */
  async apply() {
    const { app } = this;
    if (!app.preview) return PREVIEWS[app.tool]?.(this);
    await app.attempt(async () => {
      const answer = await send("POST", app.url(this.request.path), { ...this.request.body, mask: app.base, commit: true });
      const { preview } = app;
      this.cancel();
      this.take(preview);
      app.base = answer.sha256;
      this.changedMask();
      await app.refreshScan();
      toast(`${plural(preview.changed, "voxel")} changed, and saved.`);
    });
  }

  /** Put a preview into the mask on show: the server has saved the same. */
  take(preview) {
    const { app } = this;
    const place = [0, 0, 0];
    for (place[2] = preview.low[2]; place[2] <= preview.high[2]; place[2]++) {
      for (place[1] = preview.low[1]; place[1] <= preview.high[1]; place[1]++) {
        for (place[0] = preview.low[0]; place[0] <= preview.high[0]; place[0]++) {
          const after = preview.after(place);
          if (after !== null) app.mask[app.grid.index(...place)] = after;
        }
      }
    }
    app.picture.refresh([preview.low, preview.high]);
  }

  /** What stands beside the help of the tool. */
  controls() {
    const { app } = this;
    const own = { slices: () => this.sliceControls(), click: () => this.clickControls(), fill: () => this.fillControls(),
      smooth: () => this.smoothControls() }[app.tool];
    if (!own || !app.chosen) return null;
    const parts = own();
    if (app.preview) {
      parts.push(h("b", {}, `Preview: ${plural(app.preview.changed, "voxel")} change`), h("button", {
        type: "button", class: "primary", "data-act": "apply", onclick: () => this.apply(),
      }, "Apply ", h("kbd", {}, "Enter")), h("button", { type: "button", "data-act": "drop", onclick: () => this.cancel() },
        "Drop ", h("kbd", {}, "Esc")));
    } else if (PREVIEWS[app.tool]) {
      parts.push(h("button", { type: "button", "data-act": "preview", disabled: app.tool === "slices" && !this.redrawn().length,
        onclick: () => PREVIEWS[app.tool](this) }, "Preview ", h("kbd", {}, "Enter")));
    }
    if (this.working) parts.push(h("span", { class: "soft" }, "working …"));
    return h("span", { class: "group corrections" }, parts);
  }

  sliceControls() {
    const slices = this.redrawn();
    const pen = h("select", { "aria-label": "Draw or erase", onchange: (event) => { this.erasing = event.target.value === "erase"; } },
      h("option", { value: "draw", selected: !this.erasing }, "draw"), h("option", { value: "erase", selected: this.erasing }, "erase"));
    const redrawn = `Redrawn (${PLANES[this.app.plane].toLowerCase()}): ${slices.map((at) => at + 1).join(", ")}`;
    return [pen, slices.length ? h("span", {}, redrawn) : null, this.slider("Reach", 5, 150, 5, this.reach, (value) => { this.reach = value; this.askAgain({ reach_mm: value }); })];
  }

  clickControls() {
    const toggle = h("button", { type: "button", "data-act": "adding", onclick: () => this.toggleAdding() },
      this.adding ? "+ adding" : "− removing", " ", h("kbd", {}, "r"));
    return [toggle, this.slider("Within", 5, 60, 5, this.radius, (value) => { this.radius = value; this.askAgain({ radius_mm: value }); })];
  }

  fillControls() {
    const shown = (one) => (one === "in 3D" ? one : `${one} (${PLANES[this.app.plane].toLowerCase()})`);
    return [choice("Where", FILLED, this.filled, (filled) => this.choose({ filled }), shown)];
  }

  smoothControls() {
    return [choice("How", SMOOTHED, this.kind, (kind) => this.choose({ kind }), (one) => (one === "gaussian" ? "Gaussian" : one)),
      this.slider("Radius", 0.5, 15, 0.5, this.smoothing, (value) => { this.smoothing = value; this.askAgain({ radius_mm: value }); })];
  }

  slider(label, min, max, step, value, change) {
    const output = h("output", {}, `${value} ${this.unit()}`);
    return h("label", {}, `${label} `, h("input", {
      type: "range", min, max, step, value, "aria-label": `${label} in ${this.app.scan.sized ? "millimetres" : "pixels"}`,
      oninput: (event) => { output.textContent = `${event.target.value} ${this.unit()}`; },
      onchange: (event) => change(Number(event.target.value)),
    }), output);
  }
}

/** What is asked for by a button: clicks ask by themselves. */
const PREVIEWS = {
  slices: (corrections) => corrections.previewSlices(), fill: (corrections) => corrections.previewFill(),
  smooth: (corrections) => corrections.previewSmooth(),
};

function choice(label, all, chosen, change, shown) {
  return h("label", {}, `${label} `, h("select", { onchange: (event) => change(event.target.value) },
    all.map((one) => h("option", { value: one, selected: one === chosen }, shown(one)))));
}
