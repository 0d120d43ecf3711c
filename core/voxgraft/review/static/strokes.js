// What was drawn and not yet saved: strokes that can be undone and redone, and the draft that survives a reload.

/** A stroke: voxels of the picture with their codes before and after, and the axis across the slice it was drawn on. */
export function stroke(mask, changes, tool, label, axis) {
  const index = Uint32Array.from(changes.keys());
  const before = Uint8Array.from(changes.values());
  const after = Uint8Array.from(index, (at) => mask[at]);
  return { tool, label, axis, index, before, after };
}

export class Strokes {
  constructor(mask, changed) {
    this.mask = mask;
    this.changed = changed;
    this.done = [];
    this.undone = [];
  }

  get unsaved() { return this.done.length > 0; }

  add(one) {
    if (!one.index.length) return;
    this.done.push(one);
    this.undone = [];
    this.changed();
  }

  undo() { return this.move(this.done, this.undone, "before"); }

  redo() { return this.move(this.undone, this.done, "after"); }

  move(from, to, side) {
    const one = from.pop();
    if (!one) return null;
    one.index.forEach((at, number) => { this.mask[at] = one[side][number]; });
    to.push(one);
    this.changed();
    return one;
  }

  /** Codes of all voxels that differ from what was last saved, as they were saved. */
  saved() {
    const codes = new Map();
    for (const { index, before } of this.done) {
      index.forEach((at, number) => { if (!codes.has(at)) codes.set(at, before[number]); });
    }
    for (const [at, code] of codes) if (this.mask[at] === code) codes.delete(at);
    return codes;
  }

  /** Give the voxels that structures of these codes gained or lost back what was saved there; returns the stroke. */
  restore(codes, tool) {
    const changes = new Map();
    for (const [at, code] of this.saved()) {
      if (!codes.has(code) && !codes.has(this.mask[at])) continue;
      changes.set(at, this.mask[at]);
      this.mask[at] = code;
    }
    const one = stroke(this.mask, changes, tool, 0);
    this.add(one);
    return one;
  }

  /** After a save of the first `count` strokes: what was drawn meanwhile stays unsaved. */
  settle(count) {
    const settled = this.done.splice(0, count);
    if (!this.done.length) this.undone = [];
    this.changed();
    return settled;
  }
}

/** Drafts in the browser's IndexedDB: by scan and reader, with the hash of the mask that they belong to. */
export class Drafts {
  constructor(key) {
    this.key = key;
    this.waiting = null;
  }

  async open() {
    if (this.store) return this.store;
    this.store = await new Promise((resolve, reject) => {
      const request = indexedDB.open("voxgraft-review", 1);
      request.onupgradeneeded = () => request.result.createObjectStore("drafts");
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    return this.store;
  }

  async ask(mode, action) {
    const store = await this.open();
    return new Promise((resolve, reject) => {
      const transaction = store.transaction("drafts", mode);
      const request = action(transaction.objectStore("drafts"));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  }

  read() { return this.ask("readonly", (drafts) => drafts.get(this.key)); }

  write(base, strokes) {
    if (!strokes.done.length) return this.ask("readwrite", (drafts) => drafts.delete(this.key));
    const draft = { base, done: strokes.done, when: Date.now() };
    return this.ask("readwrite", (drafts) => drafts.put(draft, this.key));
  }
}
