// How the scan is shown: windows, fill and contours, opacity, planes, and the second mask over or beside the first.
import { get } from "./api.js";
import { fill, find, h, toast } from "./dom.js";
import { Picture } from "./niivue_adapter.js";
import { listenToMouse } from "./mouse.js";
import { readMask } from "./opening.js";

const STYLES = [["fill", "filled"], ["contour", "contours"], ["both", "both"]];
const PLANES = ["axial", "coronal", "sagittal"];

export function prepareDisplay(app) {
  Object.assign(app, { style: "both", opacity: 0.4, layout: null, beside: false, inverted: app.scan.inverted });
  app.setWindow = (low, high, name = "") => setWindow(app, low, high, name);
  app.display = actions(app);
  drawDisplay(app);
  applyStyle(app);
  app.picture.setInverted(app.inverted);
  if (app.scan.flat) app.picture.setFlat();
  const flat = app.grid.shape.indexOf(1);
  if (flat >= 0) app.display[["sagittal", "coronal", "axial"][flat]]();
}

function applyStyle(app) {
  const shown = app.masksShown ? app.opacity : 0;
  for (const picture of [app.picture, app.otherPicture]) {
    picture?.setStyle(app.style === "contour" ? 0 : shown, app.style !== "fill" && app.masksShown);
  }
}

function setWindow(app, low, high, name) {
  if (!(high > low)) return;
  app.window = name;
  for (const picture of [app.picture, app.otherPicture]) picture?.setWindow(low, high);
  drawDisplay(app);
}

function drawDisplay(app) {
  const [low, high] = app.picture.window;
  const { windows } = app;
  const digits = Math.min(9, Math.max(0, 3 - Math.floor(Math.log10(high - low))));
  const number = (label, value, change) => h("label", {}, label, h("input", {
    type: "number", step: "any", value: Number(value.toFixed(digits)), "aria-label": `Window, ${label.trim()}`, onchange: change,
  }));
  const names = h("select", { id: "window", title: "Window (i)", onchange: (event) => byName(app, event.target.value) },
    windows.map((one) => h("option", { value: one.name, selected: one.name === app.window }, one.name)),
    app.window ? null : h("option", { value: "", selected: true }, "by hand"));
  const inverted = h("input", { type: "checkbox", id: "inverted", checked: app.inverted, onchange: () => invert(app) });
  const bounds = [number("black ", low, (event) => app.setWindow(Number(event.target.value), app.picture.window[1])),
    number("white ", high, (event) => app.setWindow(app.picture.window[0], Number(event.target.value)))];
  const style = h("select", { title: "Filled or contours (o)", onchange: (event) => setStyle(app, event.target.value) },
    STYLES.map(([key, text]) => h("option", { value: key, selected: key === app.style }, text)));
  const opacity = h("input", { type: "range", min: 0, max: 100, value: app.opacity * 100, "aria-label": "Opacity",
    oninput: (event) => { app.opacity = event.target.value / 100; applyStyle(app); } });
  fill(find("#display"),
    h("span", { class: "group" }, h("label", {}, "Window ", names), bounds,
      h("label", { title: "Low values bright (Shift+I)" }, inverted, " inverted")),
    h("span", { class: "group" }, h("label", {}, "Masks ", style), h("label", { title: "− +" }, "Opacity ", opacity)),
    channels(app), secondMask(app));
}

function invert(app) {
  app.inverted = !app.inverted;
  for (const picture of [app.picture, app.otherPicture]) picture?.setInverted(app.inverted);
  drawDisplay(app);
}

/** Scans of several channels: which one is shown. */
function channels(app) {
  const names = app.scan.channels ?? [];
  if (names.length < 2) return null;
  const choice = h("select", { id: "channel", onchange: (event) => showChannel(app, Number(event.target.value)) },
    names.map((name, number) => h("option", { value: number, selected: number === (app.channel ?? 0) }, name)));
  return h("span", { class: "group" }, h("label", { title: "q" }, "Channel ", choice));
}

async function showChannel(app, number) {
  await app.attempt(async () => {
    app.tell("Loading the channel …");
    const answer = await get(app.url(`image?channel=${number}`), { raw: true });
    app.windows = JSON.parse(answer.headers.get("X-VoxGraft-Windows"));
    const [window] = app.windows;
    await app.picture.replace(await answer.arrayBuffer(), window);
    app.channel = number;
    app.window = window?.name ?? "";
    app.otherPicture?.share(app.picture);
    await setBeside(app, app.beside);
  });
  app.tell("");
}

function secondMask(app) {
  const others = app.scan.masks.filter((mask) => mask.sha256 !== app.scan.mask.sha256);
  const choice = h("select", { id: "second", title: "Second mask (m)", onchange: (event) => showSecond(app, event.target.value) },
    h("option", { value: "" }, others.length ? "none" : "none to compare with"),
    others.map((mask) => h("option", { value: mask.id, selected: mask.id === app.second?.id }, mask.label)));
  const beside = h("input", { type: "checkbox", checked: app.beside, disabled: !app.second,
    onchange: () => setBeside(app, !app.beside) });
  return h("span", { class: "group" }, h("label", {}, "Compare with ", choice), h("label", { title: "Shift+M" }, beside, " beside"),
    app.second && !app.beside ? h("span", { class: "small soft" }, "dashed white line") : null);
}

function byName(app, name) {
  const one = app.windows.find((window) => window.name === name);
  if (one) app.setWindow(one.low, one.high, one.name);
}

function setStyle(app, style) {
  app.style = style;
  applyStyle(app);
  drawDisplay(app);
}

async function showSecond(app, id) {
  app.second = null;
  if (id) {
    await app.attempt(async () => {
      app.tell("Loading the second mask …");
      const { mask } = await readMask(app, id);
      app.second = { id, mask, label: app.scan.masks.find((one) => one.id === id).label };
    });
    app.tell("");
  }
  await setBeside(app, app.beside && app.second !== null);
}

async function setBeside(app, beside) {
  app.beside = beside;
  find("#other").hidden = !beside;
  if (beside) {
    if (!app.otherPicture) await openOther(app);
    app.otherPicture.setMask(app.second.mask);
    app.otherPicture.setCursor(app.picture.cursor);
  }
  drawDisplay(app);
  applyStyle(app);
}

async function openOther(app) {
  const other = new Picture(find("#gl2"), () => app.redrawOverlay());
  await other.open();
  other.share(app.picture);
  other.setInverted(app.inverted);
  if (app.scan.flat) other.setFlat();
  app.otherPicture = other;
  app.shownColors = "";
  app.applyColors();
  setPlane(app, app.layout);
  listenToMouse(find("#over2"), other, app);
}

function setPlane(app, plane) {
  app.layout = plane;
  if (plane !== null) app.setActivePlane(plane);
  for (const picture of [app.picture, app.otherPicture]) picture?.setPlane(plane);
}

function actions(app) {
  const planes = Object.fromEntries(PLANES.map((name, plane) => [name, () => setPlane(app, plane)]));
  const opacity = (step) => () => {
    app.opacity = Math.min(1, Math.max(0, app.opacity + step));
    applyStyle(app);
    drawDisplay(app);
  };
  return {
    ...planes,
    planes: () => setPlane(app, null),
    zoomIn: () => app.zoom(1.25), zoomOut: () => app.zoom(0.8),
    resetView: () => [app.picture, app.otherPicture].forEach((picture) => picture?.resetView()),
    window: () => {
      const names = app.windows.map((one) => one.name);
      if (names.length) byName(app, names[(names.indexOf(app.window) + 1) % names.length]);
    },
    invert: () => invert(app),
    channel: () => {
      const count = app.scan.channels?.length ?? 0;
      return count > 1 ? showChannel(app, ((app.channel ?? 0) + 1) % count) : toast("The scan has one channel.", "look");
    },
    style: () => setStyle(app, STYLES[(STYLES.findIndex(([key]) => key === app.style) + 1) % STYLES.length][0]),
    opaque: opacity(0.1), transparent: opacity(-0.1),
    masks: () => {
      app.masksShown = !app.masksShown;
      app.applyColors();
      applyStyle(app);
    },
    second: () => {
      const ids = ["", ...app.scan.masks.filter((mask) => mask.sha256 !== app.scan.mask.sha256).map((mask) => mask.id)];
      if (ids.length === 1) return toast("There is no second mask of this scan.", "look");
      return showSecond(app, ids[(ids.indexOf(app.second?.id ?? "") + 1) % ids.length]);
    },
    beside: () => (app.second ? setBeside(app, !app.beside) : toast("Choose a second mask first (m).", "look")),
  };
}
