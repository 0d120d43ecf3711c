// What lies over the picture: names of the slices, the second mask, the preview, pins of notes, the pen's outline.
import { drawEdges, drawHatch, edges, sliceReader } from "./contours.js";
import { PLANES } from "./niivue_adapter.js";
import { brush, planeAxes } from "./pen.js";
import { drawRulers } from "./rulers.js";

/** Draw over one picture. `second` is the mask whose contours are dashed here, or null. */
export function drawOverlay(canvas, picture, app, second) {
  if (canvas.width !== picture.canvas.width || canvas.height !== picture.canvas.height) {
    canvas.width = picture.canvas.width;
    canvas.height = picture.canvas.height;
  }
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (const pane of picture.panes()) {
    context.save();
    context.beginPath();
    context.rect(pane.left, pane.top, pane.width, pane.height);
    context.clip();
    if (second && app.masksShown) drawSecond(context, pane, app, second);
    if (app.preview) drawPreview(context, pane, app);
    drawCross(context, pane, picture.cursor);
    drawPins(context, pane, app);
    drawBrush(context, pane, app);
    drawRulers(context, pane, app);
    if (!app.scan.flat) drawName(context, pane, app);
    context.restore();
  }
}

function drawSecond(context, pane, app, second) {
  const shown = (code) => code !== 0 && app.isShown(code);
  drawEdges(context, pane, edges(second.mask, app.grid, pane.axis, pane.at, shown), "#ffffff");
}

function drawPreview(context, pane, app) {
  const { preview, grid, mask } = app;
  if (pane.at < preview.low[pane.axis] || pane.at > preview.high[pane.axis]) return;
  const [u, v] = planeAxes(pane.axis);
  const reader = sliceReader(mask, grid, pane.axis, pane.at, () => true);
  const kind = (cu, cv) => {
    const place = [0, 0, 0];
    place[pane.axis] = pane.at;
    place[u] = cu;
    place[v] = cv;
    const after = preview.after(place);
    if (after === null || after === reader.code(cu, cv)) return 0;
    return after === preview.label ? 1 : 2;
  };
  const inside = (cu, cv) => {
    if (cu < preview.low[u] || cv < preview.low[v] || cu > preview.high[u] || cv > preview.high[v]) return 0;
    return kind(cu, cv);
  };
  drawHatch(context, pane, reader.width, reader.height, inside);
}

/** The linked cursor: lines through its voxel's centre, with a gap around it. */
function drawCross(context, pane, cursor) {
  const [u, v] = planeAxes(pane.axis);
  const [x, y] = pane.toCanvas(cursor[u] + 0.5, cursor[v] + 0.5);
  const gap = 9 * devicePixelRatio;
  context.beginPath();
  for (const [from, to] of [[pane.left, x - gap], [x + gap, pane.left + pane.width]]) {
    if (to > from) { context.moveTo(from, y); context.lineTo(to, y); }
  }
  for (const [from, to] of [[pane.top, y - gap], [y + gap, pane.top + pane.height]]) {
    if (to > from) { context.moveTo(x, from); context.lineTo(x, to); }
  }
  context.lineWidth = devicePixelRatio;
  context.strokeStyle = "rgba(255, 213, 74, .6)";
  context.stroke();
}

function drawPins(context, pane, app) {
  const size = 9 * devicePixelRatio;
  const [u, v] = planeAxes(pane.axis);
  app.pins().forEach(({ place, number, chosen }) => {
    if (Math.abs(place[pane.axis] - pane.at) > 1) return;
    const [x, y] = pane.toCanvas(place[u] + 0.5, place[v] + 0.5);
    disc(context, x, y - size * 1.6, size, chosen ? "#ffd54a" : "#ffffff", String(number));
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x, y - size * 0.6);
    context.strokeStyle = "#ffffff";
    context.lineWidth = 2 * devicePixelRatio;
    context.stroke();
  });
  app.points().forEach(({ place, add }) => {
    if (place[pane.axis] !== pane.at) return;
    const [x, y] = pane.toCanvas(place[u] + 0.5, place[v] + 0.5);
    disc(context, x, y, size * 0.55, add ? "#5cff8f" : "#ff7a6e", add ? "+" : "−");
  });
}

function disc(context, x, y, radius, color, text) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = color;
  context.fill();
  context.lineWidth = devicePixelRatio;
  context.strokeStyle = "#000";
  context.stroke();
  context.fillStyle = "#111";
  context.font = `bold ${Math.round(radius * 1.3)}px sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(text, x, y);
}

/** The voxels under the pen, outlined, on the pane under the mouse. */
function drawBrush(context, pane, app) {
  const { pointer, picture } = app;
  if (!pointer || !app.drawing() || pointer.plane !== pane.plane) return;
  const [u, v] = planeAxes(pane.axis);
  const cells = new Set(brush(app.pen.size, [picture.spacing[u], picture.spacing[v]]).map((cell) => cell.join()));
  context.beginPath();
  for (const cell of cells) {
    const [du, dv] = cell.split(",").map(Number);
    const [cu, cv] = [pointer.cell[0] + du, pointer.cell[1] + dv];
    const sides = [[-1, 0, 0, 0, 0, 1], [1, 0, 1, 0, 1, 1], [0, -1, 0, 0, 1, 0], [0, 1, 0, 1, 1, 1]];
    for (const [nu, nv, a, b, c, d] of sides) {
      if (cells.has([du + nu, dv + nv].join())) continue;
      context.moveTo(...pane.toCanvas(cu + a, cv + b));
      context.lineTo(...pane.toCanvas(cu + c, cv + d));
    }
  }
  for (const [width, style] of [[3, "#000"], [1.2, "#fff"]]) {
    context.lineWidth = width * devicePixelRatio;
    context.strokeStyle = style;
    context.stroke();
  }
}

function drawName(context, pane, app) {
  const text = `${PLANES[pane.plane]} ${pane.at + 1} / ${app.grid.shape[pane.axis]}`;
  const size = 12 * devicePixelRatio;
  context.font = `${size}px system-ui, sans-serif`;
  context.textAlign = "left";
  context.textBaseline = "bottom";
  const x = pane.left + size / 2, y = pane.top + pane.height - size / 3;
  context.lineWidth = 3 * devicePixelRatio;
  context.strokeStyle = "#000";
  context.strokeText(text, x, y);
  context.fillStyle = pane.plane === app.plane ? "#ffd54a" : "#dddddd";
  context.fillText(text, x, y);
}
