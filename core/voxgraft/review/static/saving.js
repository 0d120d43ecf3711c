// Saving masks and decisions: refused saves lose nothing, and what the server cannot take now waits in the browser.
import { Refused, Unreachable, put, send } from "./api.js";
import { ask, h, plural, sentence, toast } from "./dom.js";
import { compose } from "./nifti.js";
import { putOnTop } from "./opening.js";

const PENDING = "voxgraft-review-pending:";
let decided = 0;

export class Saving {
  constructor(app) {
    this.app = app;
    this.busy = null;
    this.wanted = false;
  }

  /** Decisions of this reader that the server has not taken yet, oldest first; other tabs put theirs beside them. */
  get waiting() {
    const keys = Object.keys(localStorage).filter((key) => key.startsWith(PENDING)).sort();
    return keys.map((key) => ({ key, ...JSON.parse(localStorage.getItem(key)) }))
      .filter((one) => one.reader === this.app.session.reader);
  }

  /** Save what was drawn; resolves to whether nothing is left to save. */
  save({ told = false } = {}) {
    const { strokes } = this.app;
    if (!strokes?.unsaved) {
      if (told) toast("Everything is saved already.");
      return Promise.resolve(true);
    }
    this.busy ??= this.put().finally(() => { this.busy = null; this.app.drawSaved(); });
    this.app.drawSaved();
    return this.busy;
  }

  async put() {
    const { app } = this;
    const count = app.strokes.done.length;
    const tools = [...new Set(app.strokes.done.map((one) => one.tool))];
    const voxels = app.grid.toFile(app.mask, app.header.Kind, app.codes);
    try {
      const body = await compose(app.header, voxels);
      const answer = await put(app.url("mask"), body, {
        "Content-Type": "application/octet-stream", "If-Match": `"${app.base}"`, "X-VoxGraft-Tool": tools.join(","),
        "X-VoxGraft-Locked": app.structures.filter((one) => one.locked).map((one) => one.value).join(","),
      });
      this.wanted = false;
      app.base = answer.sha256;
      app.corrections.saved(app.strokes.settle(count));
      await app.refreshScan();
      toast("Saved.");
      return !app.strokes.unsaved;
    } catch (error) {
      if (error instanceof Unreachable) { this.wanted = true; return false; }
      if (!(error instanceof Refused)) throw error;
      return this.refused(error);
    }
  }

  /** The server said no: keep the drawing, say why, and offer what can be done. */
  async refused(error) {
    if (error.status === 409 && error.body.locked) return this.atLock(error.body);
    if (error.status === 409 && error.body.current) return this.overtaken();
    toast(`Not saved: ${sentence(error.message)}`, "bad");
    return false;
  }

  async atLock({ error, locked }) {
    const { app } = this;
    const names = Object.keys(locked);
    const list = h("ul", {}, names.map((name) => h("li", {}, `${name}: ${plural(locked[name], "voxel")}`)));
    const answer = await ask("Not saved: a finished structure would change", [sentence(error), list,
      "Your drawing is still here. The voxels of finished structures can be put back as they were; the rest stays as you drew it."],
    [["restore", "Put these voxels back and save", "primary"], [null, "Continue drawing"]]);
    await app.refreshScan();
    if (answer !== "restore") return false;
    const codes = new Set(app.structures.filter((one) => names.includes(one.name)).map((one) => one.code));
    app.show(app.strokes.restore(codes, "restored").index);
    return this.put();
  }

  async overtaken() {
    const { app } = this;
    const answer = await ask("Not saved: the mask was changed elsewhere",
      ["This scan's mask was saved from another window since you opened it. Your drawing is still here."],
      [["top", "Load the newer mask and put my drawing on top", "primary"], ["drop", "Load the newer mask, drop my drawing"],
        [null, "Continue drawing"]]);
    if (!answer) return false;
    const strokes = app.strokes.done;
    await app.reload();
    if (answer === "top") app.show(putOnTop(app, strokes));
    return answer === "drop";
  }

  /** Keep strokes in the browser until they are saved, soon after each change. */
  keepDraft(now = false) {
    clearTimeout(this.timer);
    const { app } = this;
    const write = () => app.drafts?.write(app.base, app.strokes).catch(() =>
      toast("This browser keeps no drafts: save before you leave the page.", "look"));
    if (now) return write();
    this.timer = setTimeout(write, 300);
    return Promise.resolve();
  }

  // Decisions

  /** Keep a decision until the server has it. Without a mask it is about what is drawn now and still has to be saved. */
  async decide(decision) {
    const { app } = this;
    const order = String(decided += 1).padStart(6, "0");
    keep({ key: `${PENDING}${Date.now()}-${order}-${Math.random()}`, case: app.case, reader: app.session.reader,
      url: app.url("decisions"), body: decision });
    await this.sendDecisions();
  }

  /** The oldest decision that can be sent: its mask is saved, and so are those of older ones about the same scan. */
  next() {
    const { waiting } = this;
    return waiting.find(({ case: name, body }, at) => body.mask !== null
      && !waiting.slice(0, at).some((older) => older.case === name));
  }

  /** Send the decisions that wait, oldest first; one that is refused is told and dropped. One tab at a time does it. */
  async sendDecisions() {
    const work = () => this.sendWaiting();
    const here = navigator.locks ? await navigator.locks.request(PENDING, work) : await work();
    if (here) await this.app.attempt(() => (here === "overtaken" ? this.app.reload() : this.app.refreshScan()));
  }

  /** Gives whether one of them was about this scan, and "overtaken" where its mask is another one by now. */
  async sendWaiting() {
    let here = false;
    for (let next = this.next(); next; next = this.next()) {
      const { key, url, body, case: name } = next;
      let overtaken = false;
      try {
        await send("POST", url, body);
      } catch (error) {
        if (error instanceof Unreachable) return here;
        if (!(error instanceof Refused)) throw error;
        toast(`${body.structure || name}: the decision was not saved: ${sentence(error.message)}`, "bad");
        if (error.body.other !== undefined) return here; // it waits until its reader is here again
        overtaken = Boolean(error.status === 409 && error.body.current && this.app.picture && !this.app.strokes?.unsaved);
      }
      localStorage.removeItem(key);
      if (name === this.app.case) here = overtaken ? "overtaken" : here || true;
    }
    return here;
  }

  /** After the server was away: decisions about masks that it has, then the drawing, then decisions about that. */
  async goOn() {
    await this.sendDecisions();
    const about = this.waiting.filter((one) => one.case === this.app.case && one.body.mask === null);
    if (!this.wanted && !about.length) return;
    if (!(await this.save()) || !about.length) return;
    for (const one of about) keep({ ...one, body: { ...one.body, mask: this.app.base } });
    await this.sendDecisions();
  }
}

function keep({ key, ...waiting }) { localStorage.setItem(key, JSON.stringify(waiting)); }
