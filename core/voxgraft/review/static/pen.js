// Pen, filled pen and eraser on one slice of the picture. Locked structures are walls: their voxels never change.

/** The two axes of a slice, in the order of the picture's axes; `axis` is the one that the slice is cut across. */
export const planeAxes = (axis) => [[1, 2], [0, 2], [0, 1]][axis];

/** Offsets of a round brush: `size` is its width in voxels of the finer axis, round in millimetres. */
export function brush(size, [spacingU, spacingV]) {
  const fine = Math.min(spacingU, spacingV);
  const radius = (size / 2) * fine;
  const reachU = Math.floor(radius / spacingU);
  const reachV = Math.floor(radius / spacingV);
  const offsets = [];
  for (let v = -reachV; v <= reachV; v++) {
    for (let u = -reachU; u <= reachU; u++) {
      if (Math.hypot(u * spacingU, v * spacingV) < radius || (u === 0 && v === 0)) offsets.push([u, v]);
    }
  }
  return offsets;
}

/** Voxels of a line between two voxels of a slice, both ends included. */
export function line([u0, v0], [u1, v1]) {
  const steps = Math.max(Math.abs(u1 - u0), Math.abs(v1 - v0), 1);
  const cells = [];
  for (let step = 0; step <= steps; step++) {
    cells.push([Math.round(u0 + ((u1 - u0) * step) / steps), Math.round(v0 + ((v1 - v0) * step) / steps)]);
  }
  return cells;
}

/** One stroke while the button is down: `rules` say what a voxel becomes (`label`, `locked` codes, `erase`, `over`). */
export class Drawing {
  constructor(mask, grid, axis, at, spacing, size, rules) {
    const [u, v] = planeAxes(axis);
    const strides = [1, grid.shape[0], grid.shape[0] * grid.shape[1]];
    Object.assign(this, { mask, axis, at, rules });
    this.width = grid.shape[u];
    this.height = grid.shape[v];
    this.base = at * strides[axis];
    this.strides = [strides[u], strides[v]];
    this.brush = brush(size, [spacing[u], spacing[v]]);
    this.cells = new Set();
    this.changes = new Map();
    this.stopped = new Map();
    this.path = [];
  }

  /** Go on to a voxel of the slice; returns whether anything changed. */
  to(cell) {
    const before = this.changes.size;
    const from = this.path.length ? this.path[this.path.length - 1] : cell;
    this.path.push(cell);
    for (const [u, v] of line(from, cell)) this.stamp(u, v);
    return this.changes.size > before;
  }

  stamp(u, v) {
    for (const [du, dv] of this.brush) {
      const cu = u + du, cv = v + dv;
      if (cu < 0 || cv < 0 || cu >= this.width || cv >= this.height) continue;
      const cell = cu + cv * this.width;
      if (this.cells.has(cell)) continue;
      this.cells.add(cell);
      this.paint(cu, cv);
    }
  }

  paint(u, v) {
    const index = this.base + u * this.strides[0] + v * this.strides[1];
    const { label, locked, erase, over } = this.rules;
    const code = this.mask[index];
    const wanted = erase ? (code === label ? 0 : code) : label;
    if (wanted === code) return;
    if (locked.has(code) || locked.has(wanted)) {
      const wall = locked.has(code) ? code : wanted;
      this.stopped.set(wall, (this.stopped.get(wall) ?? 0) + 1);
      return;
    }
    if (!erase && code !== 0 && !over) return;
    this.changes.set(index, code);
    this.mask[index] = wanted;
  }

  /** Close the path and fill what it encloses. */
  fill() {
    for (const [u, v] of line(this.path[this.path.length - 1], this.path[0])) this.stamp(u, v);
    const cells = [...this.cells];
    const us = cells.map((cell) => cell % this.width), vs = cells.map((cell) => Math.floor(cell / this.width));
    const low = [us.reduce((a, b) => Math.min(a, b)) - 1, vs.reduce((a, b) => Math.min(a, b)) - 1];
    const high = [us.reduce((a, b) => Math.max(a, b)) + 1, vs.reduce((a, b) => Math.max(a, b)) + 1];
    const outside = this.flood(low, high);
    const width = high[0] - low[0] + 1;
    for (let v = low[1]; v <= high[1]; v++) {
      for (let u = low[0]; u <= high[0]; u++) {
        if (outside[u - low[0] + (v - low[1]) * width] === 0) this.paint(u, v);
      }
    }
  }

  /** 1 where the border of the box is reached without crossing the path, 2 on the path, 0 inside. */
  flood(low, high) {
    const width = high[0] - low[0] + 1, height = high[1] - low[1] + 1;
    const state = new Uint8Array(width * height);
    for (const cell of this.cells) {
      state[(cell % this.width) - low[0] + (Math.floor(cell / this.width) - low[1]) * width] = 2;
    }
    const queue = [0];
    state[0] = 1;
    while (queue.length) {
      const at = queue.pop();
      const u = at % width, v = (at - u) / width;
      for (const [nu, nv] of [[u - 1, v], [u + 1, v], [u, v - 1], [u, v + 1]]) {
        if (nu < 0 || nv < 0 || nu >= width || nv >= height || state[nu + nv * width]) continue;
        state[nu + nv * width] = 1;
        queue.push(nu + nv * width);
      }
    }
    return state;
  }
}

/** Corners of the box that a stroke changed, both ends included, in voxels of the picture; null if it changed none. */
export function boxOf(indices, grid) {
  const low = [Infinity, Infinity, Infinity], high = [-1, -1, -1];
  for (const index of indices) {
    const place = grid.place(index);
    for (let axis = 0; axis < 3; axis++) {
      if (place[axis] < low[axis]) low[axis] = place[axis];
      if (place[axis] > high[axis]) high[axis] = place[axis];
    }
  }
  return high[0] < 0 ? null : [low, high];
}
