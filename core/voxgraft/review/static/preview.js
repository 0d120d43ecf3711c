// What the server says that a correction would change, as voxels of the picture.

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/**
 * @param answer `box` [[from, to), ...] in voxels of the file; `mask` and `removed`, packed bits of the box with the
 *   first axis slowest: voxels that become the structure, and those that leave it
 * @returns corners of the box in the picture, both included, and `after(place)`: the code, or null where nothing changes
 */
export function decodePreview(answer, grid, codes) {
  const size = answer.box.map(([from, to]) => to - from);
  const added = bytes(answer.mask), removed = bytes(answer.removed);
  const label = codes.of(answer.label);
  const ends = [answer.box.map(([from]) => from), answer.box.map(([, to]) => to - 1)].map((corner) => grid.fromFile(corner));
  const low = ends[0].map((one, axis) => Math.min(one, ends[1][axis]));
  const high = ends[0].map((one, axis) => Math.max(one, ends[1][axis]));
  const after = (place) => {
    const voxel = grid.fileVoxel(place).map((one, axis) => one - answer.box[axis][0]);
    if (voxel.some((one, axis) => one < 0 || one >= size[axis])) return null;
    const at = (voxel[0] * size[1] + voxel[1]) * size[2] + voxel[2];
    const bit = 128 >> (at & 7);
    return added[at >> 3] & bit ? label : removed[at >> 3] & bit ? 0 : null;
  };
  return { low, high, after };
}
