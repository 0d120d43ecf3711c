// Rulers: distances within a plane, in millimetres where the scan says how large its voxels are. They are not kept.
import { planeAxes } from "./pen.js";

/** How long a ruler is: its ends are places in a slice, in voxels whose first one reaches from 0 to 1. */
export function length(app, { axis, at, from, to }) {
  const [u, v] = planeAxes(axis);
  const ends = [from, to].map((end) => {
    const place = [0, 0, 0];
    place[axis] = at;
    place[u] = end[0] - 0.5;
    place[v] = end[1] - 0.5;
    return app.scan.sized ? app.toMillimetres(place) : place;
  });
  const long = Math.hypot(...ends[0].map((one, row) => one - ends[1][row]));
  return `${long.toFixed(1)} ${app.scan.sized ? "mm" : "pixels"}`;
}

export function drawRulers(context, pane, app) {
  for (const one of app.rulers) {
    if (one.axis !== pane.axis || one.at !== pane.at) continue;
    const [from, to] = [pane.toCanvas(...one.from), pane.toCanvas(...one.to)];
    const [across, up] = [to[0] - from[0], to[1] - from[1]];
    const tick = (6 * devicePixelRatio) / (Math.hypot(across, up) || 1);
    context.beginPath();
    for (const [[x0, y0], [x1, y1]] of [[from, to], ...[from, to].map(([x, y]) =>
      [[x - up * tick, y + across * tick], [x + up * tick, y - across * tick]])]) {
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
    }
    for (const [width, color] of [[4, "#000"], [1.6, "#fff"]]) {
      context.lineWidth = width * devicePixelRatio;
      context.strokeStyle = color;
      context.stroke();
    }
    label(context, length(app, one), (from[0] + to[0]) / 2, (from[1] + to[1]) / 2, Math.abs(up) > Math.abs(across), pane);
  }
}

/** Write beside the middle of a ruler, or above it, within its pane. */
function label(context, text, x, middle, beside, pane) {
  const size = 13 * devicePixelRatio;
  context.font = `bold ${size}px system-ui, sans-serif`;
  context.textAlign = "left";
  context.textBaseline = "middle";
  const { width } = context.measureText(text);
  const left = Math.max(pane.left + size / 2, Math.min(beside ? x + size : x - width / 2, pane.left + pane.width - width - size / 2));
  const y = Math.max(pane.top + size, beside ? middle : middle - 1.4 * size);
  context.fillStyle = "rgba(0, 0, 0, .75)";
  context.fillRect(left - size / 3, y - size * 0.75, width + size / 1.5, size * 1.5);
  context.fillStyle = "#fff";
  context.fillText(text, left, y);
}
