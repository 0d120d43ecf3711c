// Islands: the separate pieces of a structure. One is removed, or it alone is kept; a stroke like those of the pen.

/**
 * The voxels of a piece: those of one code that are connected to a voxel across faces, edges or corners.
 * They are 0 in the mask afterwards.
 * @returns {number[]} indices into the mask
 */
function taken(mask, [nx, ny, nz], start) {
  const code = mask[start];
  const piece = [start];
  mask[start] = 0;
  for (let next = 0; next < piece.length; next++) {
    const x = piece[next] % nx, y = Math.floor(piece[next] / nx) % ny, z = Math.floor(piece[next] / (nx * ny));
    for (let k = Math.max(0, z - 1); k <= Math.min(nz - 1, z + 1); k++) {
      for (let j = Math.max(0, y - 1); j <= Math.min(ny - 1, y + 1); j++) {
        for (let i = Math.max(0, x - 1); i <= Math.min(nx - 1, x + 1); i++) {
          const at = i + nx * (j + ny * k);
          if (mask[at] !== code) continue;
          mask[at] = 0;
          piece.push(at);
        }
      }
    }
  }
  return piece;
}

/** Remove the piece of a structure that a voxel belongs to or, with `keep`, all of the structure but this piece. */
export function islandStroke(mask, grid, place, keep) {
  const start = grid.index(...place);
  const code = mask[start];
  const piece = taken(mask, grid.shape, start);
  const index = keep ? [] : piece;
  if (keep) {
    for (let at = mask.indexOf(code); at >= 0; at = mask.indexOf(code, at + 1)) index.push(at);
    for (const at of index) mask[at] = 0;
    for (const at of piece) mask[at] = code;
  }
  return {
    tool: "island", label: code, index: Uint32Array.from(index),
    before: new Uint8Array(index.length).fill(code), after: new Uint8Array(index.length),
  };
}
