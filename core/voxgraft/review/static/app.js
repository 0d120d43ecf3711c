// One scan in the viewer: its state, and what the parts of the page do with it.
import { Refused, Unreachable, get, openSession, send } from "./api.js";
import { solve } from "./affine.js";
import { Corrections } from "./corrections.js";
import { ask, fill, find, h, plural, rgb, sentence, toast } from "./dom.js";
import { islandStroke } from "./islands.js";
import { Codes } from "./nifti.js";
import { drawNotes } from "./notes.js";
import { loadMask, openPicture, showPreviewOnly } from "./opening.js";
import { drawOverlay } from "./overlay.js";
import { boxOf } from "./pen.js";
import { Saving } from "./saving.js";
import { askReason, drawStructures, verdictTag, verdicts } from "./structures.js";
import { Timer, clock } from "./timer.js";
import { drawTools } from "./tools.js";
import { filtered, keep, kept, words } from "./way.js";

export class App {
  constructor(name) {
    this.case = name;
    this.tool = "look";
    this.plane = 0;
    this.pen = { size: 5, over: false };
    this.keepsIsland = false;
    this.rulers = [];
    this.masksShown = true;
    this.structures = [];
    this.notes = [];
    this.second = null;
    this.preview = null;
    this.pointer = null;
    this.saving = new Saving(this);
    this.corrections = new Corrections(this);
  }

  url(rest) { return `/api/scans/${encodeURIComponent(this.case)}${rest ? `/${rest}` : ""}`; }

  // Loading

  /** What the server says of the scan, and of its place in the worklist as this tab has filtered and ordered it. */
  read() { return get(`${this.url("")}?${words({ ...kept().query, was: this.was })}`); }

  async open() {
    this.session = await openSession();
    if (!this.session.reader) return location.replace("/");
    this.scan = await this.read();
    this.was = this.scan.review_state;
    keep({ near: this.case });
    document.title = `${this.case} · VoxGraft review`;
    this.timer = new Timer((seconds, running) => {
      find("#clock").textContent = `${running ? "" : "paused "}${clock(seconds)}`;
    });
    this.takeScan();
    if (this.scan.image_error) showPreviewOnly(this);
    else await openPicture(this);
    this.drawAll();
    if (this.chosen && this.picture) this.centre();
    await frames(2); // the picture has taken the room that the tools leave it
    document.body.dataset.ready = "true";
  }

  /** What the server says of the scan; what the reader sees of it stays as it was. */
  takeScan() {
    const { scan } = this;
    const before = new Map(this.structures.map((one) => [one.value, one]));
    this.codes ??= new Codes(scan.structures.map((one) => one.value));
    const latest = new Map(scan.decisions.filter((one) => one.reader === this.session.reader).map((one) => [one.structure, one]));
    this.structures = scan.structures.map((one) => {
      const known = before.get(one.value);
      const decision = latest.get(one.name);
      return {
        ...one, code: this.codes.of(one.value), rgb: rgb(one.color), visible: known?.visible ?? true,
        finished: one.locked, locked: one.locked || (known?.kept ?? false), kept: known?.kept ?? false,
        reason: decision && decision.verdict === one.verdict ? decision.reason : "", edited: known?.edited ?? false,
      };
    });
    this.byCode = new Map(this.structures.map((one) => [one.code, one]));
    const whole = latest.get("");
    this.wholeVerdict = whole && whole.verdict !== "reopened" ? whole : null;
    this.notes = scan.notes;
    this.chosen = this.structures.find((one) => one.value === this.chosen?.value) ?? this.structures[0] ?? null;
  }

  async refreshScan() {
    this.scan = await this.read();
    if (!this.picture) this.base = this.scan.mask.sha256;
    this.takeScan();
    this.markEdited();
    this.drawAll();
  }

  // Drawing on the screen

  tell(text) { fill(find("#loading"), text); find("#loading").hidden = !text; }

  drawAll() {
    const { scan } = this;
    find("#case").textContent = this.case;
    const times = (numbers) => numbers.slice(0, scan.flat ? 2 : 3).join(" × ");
    const step = scan.sized ? ` of ${times(scan.spacing_mm.map((mm) => Number(mm.toFixed(2))))} mm` : "";
    const size = scan.shape.length && `${times(scan.shape)} ${scan.flat ? "pixels" : "voxels"}${step}`;
    find("#about").textContent = [scan.accession && `Acc. ${scan.accession}`, scan.study_date, scan.description, scan.modality?.toUpperCase(),
      size].filter(Boolean).join(" · ");
    fill(find("#place"), `${scan.place} of ${scan.total}`, filtered(kept().query) ? " filtered" : "");
    find("#previous").disabled = !scan.previous;
    find("#next").disabled = !scan.next;
    fill(find("#flags"), warnings(this).map((text) => h("p", { class: "flag look" }, "▲ ", text)));
    fill(find("#whole"), h("div", { class: "state" }, verdictTag(this.wholeVerdict?.verdict, this.wholeVerdict?.reason)), verdicts(this, null));
    drawStructures(this);
    drawNotes(this);
    this.applyColors();
    this.drawSaved();
    drawTools(this);
  }

  drawSaved() {
    const state = this.saving.busy ? ["wait", "saving …"] : this.strokes?.unsaved
      ? ["look", `● ${plural(this.strokes.done.length, "stroke")} not saved`] : ["good", "✓ saved"];
    const tag = find("#saved");
    tag.className = `tag ${state[0]}`;
    tag.textContent = state[1];
  }

  applyColors() {
    const colors = new Map(this.structures.map((one) => [one.code, this.masksShown && one.visible ? one.rgb : null]));
    const key = JSON.stringify([...colors]);
    if (!this.picture || key === this.shownColors) return;
    this.shownColors = key;
    for (const picture of [this.picture, this.otherPicture]) picture?.setColors(colors);
  }

  overlay() {
    if (!this.mask) return;
    const beside = this.beside && this.otherPicture;
    drawOverlay(find("#over"), this.picture, this, beside ? null : this.second);
    if (beside && this.otherPicture.grid) drawOverlay(find("#over2"), this.otherPicture, this, null);
  }

  redrawOverlay() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = null; this.overlay(); });
  }

  /** Send voxels that changed to the screen. */
  show(indices) {
    const box = boxOf(indices, this.grid);
    if (box) this.picture.refresh(box);
  }

  isShown(code) { return this.byCode.get(code)?.visible ?? true; }

  structureOf(code) { return this.byCode.get(code); }

  pins() {
    return this.notes.flatMap((note, at) => (note.place_mm
      ? [{ place: this.fromMillimetres(note.place_mm), number: at + 1, chosen: note === this.chosenNote }] : []));
  }

  points() { return this.corrections.points; }

  // Cursor and slices

  setCursor(place) {
    this.picture.setCursor(place);
    this.otherPicture?.setCursor(place);
    this.readout(this.picture.cursor);
  }

  setActivePlane(plane) {
    if (plane === this.plane) return;
    this.plane = plane;
    this.redrawOverlay();
    drawTools(this);
  }

  moveSlice(plane, step) {
    if (!this.mask) return;
    const axis = [2, 1, 0][plane];
    const place = this.picture.cursor;
    place[axis] += step;
    this.setActivePlane(plane);
    this.setCursor(place);
  }

  pan(change, zoom) {
    this.picture.pan(change, zoom);
    this.otherPicture?.pan(change, zoom);
  }

  zoom(factor) { this.pan([0, 0, 0], factor); }

  toMillimetres(place) {
    const voxel = this.grid.fileVoxel(place);
    return this.scan.affine.slice(0, 3).map((row) => row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2] + row[3]);
  }

  fromMillimetres(mm) {
    return this.grid.fromFile(solve(this.scan.affine, mm).map((one, axis) =>
      Math.min(this.scan.shape[axis] - 1, Math.max(0, Math.round(one)))));
  }

  readout(place) {
    const [x, y, z] = this.toMillimetres(place).map((one) => one.toFixed(1));
    const [i, j, k] = this.grid.fileVoxel(place);
    const where = this.scan.flat ? `pixel ${i}, ${j}` : `R ${x}  A ${y}  S ${z} mm · voxel ${i}, ${j}, ${k}`;
    const name = this.structureOf(this.mask[this.grid.index(...place)])?.name ?? "no structure";
    const value = this.picture.intensity(place);
    find("#readout").textContent = `${where} · intensity ${Number(value.toFixed(3))} · ${name}`;
  }

  point(pane, cell, place, picture) {
    this.pointer = pane && picture === this.picture ? { plane: pane.plane, cell } : null;
    if (pane && this.mask) this.readout(place);
    if (this.drawing()) this.redrawOverlay();
  }

  setRulers(rulers) {
    this.rulers = rulers;
    this.redrawOverlay();
    drawTools(this);
  }

  // Structures

  choose(structure, go) {
    this.chosen = structure;
    this.corrections.changedStructure();
    drawStructures(this);
    drawTools(this);
    if (go) this.centre();
    find(".structure.chosen")?.scrollIntoView({ block: "nearest" });
  }

  /** Move the cursor to the voxel of the chosen structure that is nearest to its centre. */
  centre() {
    const { grid, mask, chosen } = this;
    if (!chosen || !mask) return;
    const sum = [0, 0, 0];
    let number = 0, nearest = null, least = Infinity;
    const each = (visit) => {
      for (let at = mask.indexOf(chosen.code); at >= 0; at = mask.indexOf(chosen.code, at + 1)) visit(grid.place(at));
    };
    each((place) => {
      for (let axis = 0; axis < 3; axis++) sum[axis] += place[axis];
      number += 1;
    });
    const centre = sum.map((one) => Math.round(one / number));
    if (number && mask[grid.index(...centre)] === chosen.code) return this.setCursor(centre);
    each((place) => {
      const far = Math.hypot(...place.map((one, axis) => (one - centre[axis]) * this.picture.spacing[axis]));
      if (far < least) [nearest, least] = [place, far];
    });
    if (nearest) this.setCursor(nearest);
  }

  toggleShown(structure) {
    structure.visible = !structure.visible;
    this.applyColors();
    drawStructures(this);
  }

  toggleLock(structure) {
    if (structure.finished) {
      return toast(`${structure.name} is finished, so nothing may change it. Choose “Open again” to correct it.`, "look");
    }
    structure.kept = structure.locked = !structure.locked;
    drawStructures(this);
  }

  lockedCodes() { return new Set(this.structures.filter((one) => one.locked).map((one) => one.code)); }

  drawing() { return ["pen", "filled", "eraser", "slices"].includes(this.tool); }

  /** What a stroke may do; null, with a message, where it may do nothing. */
  rules() {
    if (!this.chosen) return null;
    if (this.scan.mask_error) { toast(sentence(this.scan.mask_error), "look"); return null; }
    if (this.chosen.locked) {
      toast(`${this.chosen.name} is locked: ${this.chosen.finished ? "choose “Open again”" : "unlock it (l)"} to draw it.`, "look");
      return null;
    }
    if (this.preview) { toast("Apply or drop the preview first.", "look"); return null; }
    const erase = this.tool === "eraser" || this.corrections.erasing;
    return { label: this.chosen.code, locked: this.lockedCodes(), erase, over: this.pen.over };
  }

  /** Remove the piece of the chosen structure at a place, or keep nothing but this piece. */
  takeIsland(place) {
    const rules = this.rules();
    if (!rules) return;
    if (this.mask[this.grid.index(...place)] !== rules.label) return toast(`There is no voxel of ${this.chosen.name} here.`, "look");
    const one = islandStroke(this.mask, this.grid, place, this.keepsIsland);
    if (!one.index.length) return toast(`${this.chosen.name} is in one piece.`, "look");
    this.strokes.add(one);
    this.show(one.index);
    toast(`${plural(one.index.length, "voxel")} of ${this.chosen.name} removed; Ctrl+Z brings them back.`);
  }

  // Strokes, decisions

  strokesChanged() {
    this.markEdited();
    drawStructures(this);
    this.drawSaved();
    drawTools(this);
    this.saving.keepDraft();
  }

  markEdited() {
    const codes = new Set();
    for (const { index, before, after } of this.strokes?.done ?? []) {
      for (let at = 0; at < index.length; at++) { codes.add(before[at]); codes.add(after[at]); }
    }
    for (const one of this.structures) one.edited = codes.has(one.code);
  }

  async decide(structure, verdict) {
    const name = structure ? structure.name : "";
    if (!structure && verdict === "corrected") return;
    let reason = "", note = "";
    if (verdict === "rejected") {
      const chosen = await askReason(name || "the whole scan", this.session.reasons);
      if (!chosen) return;
      ({ reason, note } = chosen);
    }
    const saved = await this.saving.save();
    if (!saved && !this.saving.wanted) return;
    const mask = saved ? this.base : null;
    await this.saving.decide({ structure: name, verdict, reason, note, seconds: this.timer.lap(), mask });
    if (verdict !== "reopened" && structure) this.toNextOpen(structure);
  }

  toNextOpen(structure) {
    const at = this.structures.findIndex((one) => one.value === structure.value);
    const order = [...this.structures.slice(at + 1), ...this.structures.slice(0, at)];
    const next = order.find((one) => !one.verdict);
    if (next) this.choose(next, true);
    else toast("Every structure is decided. Press n for the next scan, Shift+N for the next that is not reviewed.");
  }

  async undo(forward = false) {
    if (this.preview) return this.corrections.cancel();
    if (!this.strokes) return;
    const one = forward ? this.strokes.redo() : this.strokes.undo();
    if (one) return this.show(one.index);
    if (this.strokes.unsaved) return;
    if (!(forward ? this.scan.can_redo : this.scan.can_undo)) {
      return toast(forward ? "There is nothing to redo." : "There is nothing to undo.", "look");
    }
    await this.attempt(async () => {
      await send("POST", this.url(forward ? "redo" : "undo"), { mask: this.base });
      await this.reload();
      toast(forward ? "Redone, and saved." : "Undone, and saved.");
    });
  }

  /** Read scan and mask again; strokes that are not saved are dropped. */
  async reload() {
    this.scan = await this.read();
    this.takeScan();
    await loadMask(this);
    await this.drafts.write(this.base, this.strokes).catch(() => null);
    this.markEdited();
    this.drawAll();
  }

  async attempt(action) {
    try {
      return await action();
    } catch (error) {
      if (error instanceof Refused) await this.refused(error);
      else if (!(error instanceof Unreachable)) throw error;
      return undefined;
    }
  }

  /** The server said no. Where the mask is another one by now, show that one: nothing drawn is waiting at such times. */
  async refused(error) {
    if (error.status !== 409 || !error.body.current || !this.picture || this.strokes?.unsaved) return toast(sentence(error.message), "bad");
    this.corrections.cancel();
    await this.reload();
    return toast("Not done: the mask was changed in another window. The newer one is shown now; look at it and try again.", "bad");
  }

  async leave(url) {
    if (this.strokes?.unsaved) {
      const answer = await ask("Not saved yet", "What you drew on this scan is not saved.",
        [["save", "Save and continue", "primary"], ["keep", "Continue, keep it as a draft"], [null, "Stay"]]);
      if (!answer || (answer === "save" && !(await this.saving.save()))) return;
      await this.saving.keepDraft(true);
    }
    await this.attempt(async () => {
      await get("/healthz"); // where nobody answers, the page stays with what waits in it
      this.leaving = true;
      location.href = url;
    });
  }

  /** Go to a scan of the worklist as it is filtered: `next`, `previous`, or `next_open`, the next not reviewed. */
  toScan(which) {
    return this.attempt(async () => {
      const name = (await this.read())[which];
      if (name) return this.leave(`/scan/${encodeURIComponent(name)}`);
      const what = { next: "scan after this", previous: "scan before this", next_open: "other scan that is not reviewed" }[which];
      return toast(`There is no ${what} in the worklist${filtered(kept().query) ? " as it is filtered" : ""}.`, "look");
    });
  }
}

/** What a reader should know of a scan before he or she decides. */
function warnings({ scan, session }) {
  return [
    sentence(scan.mask_error ?? scan.error ?? ""), ...scan.flags.map((flag) => flag.message),
    scan.superseded && "The scan was segmented again since you corrected it: compare your mask with the new one.",
    scan.blind && "Blind reading: what others decided is hidden until both readers are done.",
    !session.writable && "This folder is read-only: the scan can be viewed, but no decisions saved.",
  ].filter(Boolean);
}

async function frames(number) {
  for (let frame = 0; frame < number; frame++) await new Promise((resolve) => requestAnimationFrame(resolve));
}
