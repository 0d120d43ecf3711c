// Lines around the structures of a second mask, and hatching of what a preview would change, drawn over the picture.

/** Edges between different codes on a slice, as runs [u0, v0, u1, v1] in voxel corners. */
export function edges(mask, grid, axis, at, shown) {
  const { width, height, code } = sliceReader(mask, grid, axis, at, shown);
  const runs = [];
  for (let u = 0; u <= width; u++) {
    follow(height, (v) => code(u - 1, v) !== code(u, v), (from, to) => runs.push([u, from, u, to]));
  }
  for (let v = 0; v <= height; v++) {
    follow(width, (u) => code(u, v - 1) !== code(u, v), (from, to) => runs.push([from, v, to, v]));
  }
  return runs;
}

function follow(length, wanted, add) {
  for (let at = 0, start = -1; at <= length; at++) {
    const here = at < length && wanted(at);
    if (here && start < 0) start = at;
    if (!here && start >= 0) { add(start, at); start = -1; }
  }
}

export function sliceReader(mask, grid, axis, at, shown) {
  const strides = [1, grid.shape[0], grid.shape[0] * grid.shape[1]];
  const [a, b] = [[1, 2], [0, 2], [0, 1]][axis];
  const width = grid.shape[a], height = grid.shape[b], base = at * strides[axis];
  const code = (u, v) => {
    if (u < 0 || v < 0 || u >= width || v >= height) return 0;
    const value = mask[base + u * strides[a] + v * strides[b]];
    return shown(value) ? value : 0;
  };
  return { width, height, code };
}

/** Draw runs as dashes over a pane. */
export function drawEdges(context, pane, runs, color) {
  for (const [width, style] of [[3, "rgba(0,0,0,.65)"], [1.4, color]]) {
    context.beginPath();
    context.lineWidth = width * devicePixelRatio;
    context.strokeStyle = style;
    context.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
    for (const [u0, v0, u1, v1] of runs) {
      context.moveTo(...pane.toCanvas(u0, v0));
      context.lineTo(...pane.toCanvas(u1, v1));
    }
    context.stroke();
  }
  context.setLineDash([]);
}

/** Hatch voxels of a slice: `kind(u, v)` is 1 for added, 2 for removed, 0 for neither; the hatchings lean apart. */
export function drawHatch(context, pane, width, height, kind) {
  for (const [wanted, style, lean] of [[1, "#5cff8f", 1], [2, "#ff7a6e", -1]]) {
    context.beginPath();
    for (let v = 0; v < height; v++) {
      for (let u = 0; u < width; u++) {
        if (kind(u, v) !== wanted) continue;
        const up = lean > 0 ? 0 : 1;
        context.moveTo(...pane.toCanvas(u, v + up));
        context.lineTo(...pane.toCanvas(u + 1, v + 1 - up));
      }
    }
    for (const [width, color] of [[3, "rgba(0,0,0,.55)"], [1.4, style]]) {
      context.lineWidth = width * devicePixelRatio;
      context.strokeStyle = color;
      context.stroke();
    }
  }
}
