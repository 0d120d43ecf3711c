// The mouse on the picture: cursor, slices, window, zoom, and strokes of the pen.
import { Drawing, planeAxes } from "./pen.js";
import { stroke } from "./strokes.js";
import { toast } from "./dom.js";

/** Listen on the canvas that lies over a picture. `app.picture` is drawn on, other pictures are only looked at. */
export function listenToMouse(over, picture, app) {
  let held = null;

  const at = (event) => {
    const frame = over.getBoundingClientRect();
    const x = (event.clientX - frame.left) * (picture.canvas.width / frame.width);
    const y = (event.clientY - frame.top) * (picture.canvas.height / frame.height);
    return { x, y, pane: picture.panes().find((pane) => pane.holds(x, y)) };
  };
  const cellOf = (pane, x, y) => pane.toCell(x, y).map(Math.floor);
  const placeOf = (pane, cell) => {
    const place = [0, 0, 0];
    const [u, v] = planeAxes(pane.axis);
    place[pane.axis] = pane.at;
    place[u] = cell[0];
    place[v] = cell[1];
    return place.map((one, axis) => Math.min(app.grid.shape[axis] - 1, Math.max(0, one)));
  };

  over.addEventListener("pointerdown", (event) => {
    const { x, y, pane } = at(event);
    if (!pane) return;
    over.setPointerCapture(event.pointerId);
    app.setActivePlane(pane.plane);
    const place = placeOf(pane, cellOf(pane, x, y));
    if (event.button === 2) held = { kind: "window", x, y, window: picture.window };
    else if (event.button === 1 || event.shiftKey) held = { kind: "pan", x, y, pane };
    else if (app.tool === "ruler") held = startRuler(pane, x, y);
    else if (app.tool === "island" && picture === app.picture) app.takeIsland(place);
    else if (app.tool === "click" && picture === app.picture) app.corrections.addPoint(place);
    else if (app.drawing() && picture === app.picture) held = startStroke(pane, x, y);
    else {
      held = { kind: "cursor" };
      app.setCursor(place);
    }
  });

  function startRuler(pane, x, y) {
    const cell = pane.toCell(x, y);
    const ruler = { axis: pane.axis, at: pane.at, from: cell, to: cell };
    app.setRulers([...app.rulers, ruler]);
    return { kind: "ruler", ruler, plane: pane.plane };
  }

  function startStroke(pane, x, y) {
    const rules = app.rules();
    if (!rules) return null;
    const drawing = new Drawing(app.mask, app.grid, pane.axis, pane.at, picture.spacing, app.pen.size, rules);
    drawing.to(cellOf(pane, x, y));
    app.show(drawing.changes.keys());
    return { kind: "stroke", drawing, plane: pane.plane };
  }

  over.addEventListener("pointermove", (event) => {
    const { x, y, pane } = at(event);
    if (pane) app.point(pane, cellOf(pane, x, y), placeOf(pane, cellOf(pane, x, y)), picture);
    if (!held) return;
    if (held.kind === "window") return window(x, y);
    if (held.kind === "pan") return pan(x, y);
    if (!pane) return;
    if (held.kind === "ruler") return pane.plane === held.plane ? stretch(pane, x, y) : undefined;
    if (held.kind === "cursor") return app.setCursor(placeOf(pane, cellOf(pane, x, y)));
    const known = held.drawing.changes.size;
    for (const part of event.getCoalescedEvents?.() ?? [event]) follow(part);
    app.show([...held.drawing.changes.keys()].slice(known));
  });

  function stretch(pane, x, y) {
    held.ruler.to = pane.toCell(x, y);
    app.setRulers(app.rulers);
  }

  /** One movement of a stroke; browsers hand over several at once while they draw. */
  function follow(event) {
    const { x, y, pane } = at(event);
    if (pane && pane.plane === held.plane) held.drawing.to(cellOf(pane, x, y));
  }

  function window(x, y) {
    const [low, high] = held.window;
    const width = Math.max((high - low) * 0.02, (high - low) * (1 + (x - held.x) / 300));
    const centre = (low + high) / 2 + ((high - low) * (y - held.y)) / 300;
    app.setWindow(centre - width / 2, centre + width / 2);
  }

  function pan(x, y) {
    const [u, v] = planeAxes(held.pane.axis);
    const from = held.pane.toCell(held.x, held.y), to = held.pane.toCell(x, y);
    const change = [0, 0, 0];
    change[u] = (to[0] - from[0]) * picture.spacing[u];
    change[v] = (to[1] - from[1]) * picture.spacing[v];
    held.x = x;
    held.y = y;
    app.pan(change);
  }

  const release = () => {
    const { kind, drawing, ruler } = held ?? {};
    held = null;
    if (ruler?.from === ruler?.to) app.setRulers(app.rulers.filter((one) => one !== ruler)); // a click measures nothing
    if (kind !== "stroke") return;
    if (app.tool === "filled") drawing.fill();
    app.show(drawing.changes.keys());
    app.strokes.add(stroke(app.mask, drawing.changes, app.tool, drawing.rules.label, drawing.axis));
    tellWalls(drawing.stopped);
  };
  over.addEventListener("pointerup", release);
  over.addEventListener("pointercancel", release);
  over.addEventListener("pointerleave", () => app.point(null));
  over.addEventListener("contextmenu", (event) => event.preventDefault());
  over.addEventListener("wheel", (event) => {
    event.preventDefault();
    const { pane } = at(event);
    if (!pane) return;
    const step = Math.sign(event.deltaY);
    if (event.ctrlKey) app.zoom(step > 0 ? 1 / 1.2 : 1.2);
    else app.moveSlice(pane.plane, step > 0 ? 1 : -1);
  }, { passive: false });

  function tellWalls(stopped) {
    for (const [code, voxels] of stopped) {
      const name = app.structureOf(code)?.name ?? "another structure";
      toast(`${name} is locked: ${voxels.toLocaleString("en-GB")} of its voxels stayed as they were.`, "look");
    }
  }
}
