// Opening a scan: its image, the mask that the reader works on, and what was drawn before and not saved.
import { get } from "./api.js";
import { prepareDisplay } from "./display.js";
import { fill, find, h, plural, sentence, toast } from "./dom.js";
import { listenToMouse } from "./mouse.js";
import { inflate, parse } from "./nifti.js";
import { Picture } from "./niivue_adapter.js";
import { Drafts, Strokes } from "./strokes.js";

export async function openPicture(app) {
  await loadPicture(app);
  prepareDisplay(app);
  app.applyColors();
  await loadMask(app);
  await restoreDraft(app);
  listenToMouse(find("#over"), app.picture, app);
}

/** The scan cannot be shown: its preview can, and it can be decided on. */
export function showPreviewOnly(app) {
  const { image_error: error, preview } = app.scan;
  app.base = app.scan.mask.sha256;
  fill(find("#loading"), h("p", {}, sentence(error), preview ? " Only its preview can be shown." : ""), preview ? h("img", { src: preview, alt: "preview" }) : null);
  find("#loading").classList.add("instead");
}

async function loadPicture(app) {
  app.tell("Loading the scan …");
  const answer = await get(app.url("image"), { raw: true });
  app.picture = new Picture(find("#gl"), () => app.overlay());
  await app.picture.open();
  app.windows = app.scan.windows;
  const [window] = app.windows;
  await app.picture.load(await progress(answer, (text) => app.tell(text)), window);
  app.grid = app.picture.grid;
  app.window = window?.name ?? "";
}

/** Read the mask that this reader works on from the server and show it. */
export async function loadMask(app) {
  const { id, sha256 } = app.scan.mask;
  app.base = sha256;
  if (app.scan.mask_error) app.mask = new Uint8Array(app.grid.size);
  else {
    app.tell("Loading the mask …");
    const read = await readMask(app, id);
    app.header = { header: read.header, little: read.little, Kind: read.voxels.constructor };
    app.mask = read.mask;
  }
  app.strokes = new Strokes(app.mask, () => app.strokesChanged());
  app.corrections.changedMask();
  app.picture.setMask(app.mask);
  app.tell("");
}

export async function readMask(app, id) {
  const answer = await get(app.url(`masks/${encodeURIComponent(id)}`), { raw: true });
  const read = parse(await inflate(await answer.arrayBuffer()));
  if (read.dims.some((length, axis) => length !== (app.scan.shape[axis] ?? 1))) {
    throw new Error(`The mask ${id} has ${read.dims.join("x")} voxels, and the scan ${app.scan.shape.join("x")}.`);
  }
  return { ...read, mask: app.grid.toPicture(read.voxels, app.codes) };
}

async function restoreDraft(app) {
  app.drafts = new Drafts(`${app.case}|${app.session.reader}`);
  const draft = await app.drafts.read().catch(() => null);
  if (!draft || !draft.done.length) return;
  const voxels = putOnTop(app, draft.done);
  toast(`${plural(draft.done.length, "stroke")} of ${new Date(draft.when).toLocaleString("en-GB")} that were not saved are back.`
    + (draft.base === app.base ? "" : " The mask was changed in the meantime; look at them before you save."), "look");
  app.show(voxels);
}

/** Draw strokes again on the mask as it is now; locked structures stay. Returns the voxels that changed. */
export function putOnTop(app, strokes) {
  const locked = app.lockedCodes();
  const changed = [];
  for (const one of strokes) {
    const kept = [...one.index.keys()].filter((number) => {
      const now = app.mask[one.index[number]];
      return now !== one.after[number] && !locked.has(now) && !locked.has(one.after[number]);
    });
    const index = Uint32Array.from(kept, (number) => one.index[number]);
    const before = Uint8Array.from(index, (at) => app.mask[at]);
    const after = Uint8Array.from(kept, (number) => one.after[number]);
    index.forEach((at, number) => { app.mask[at] = after[number]; changed.push(at); });
    app.strokes.add({ ...one, index, before, after });
  }
  return changed;
}

/** Read an answer and tell how much of it has come. */
async function progress(answer, tell) {
  const total = Number(answer.headers.get("content-length"));
  if (!total || !answer.body) return answer.arrayBuffer();
  const reader = answer.body.getReader();
  const parts = [];
  for (let come = 0; ;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    come += value.length;
    tell(`Loading the scan … ${Math.min(100, Math.round((100 * come) / total))} %`);
  }
  return new Blob(parts).arrayBuffer();
}
