// Masks as NIfTI: read, written back with the same header, and reordered between the file's voxels and the viewer's.

const READERS = {
  2: Uint8Array, 4: Int16Array, 8: Int32Array, 16: Float32Array, 64: Float64Array,
  256: Int8Array, 512: Uint16Array, 768: Uint32Array,
};

export async function inflate(buffer) {
  const bytes = new Uint8Array(buffer);
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return buffer;
  return new Response(new Blob([buffer]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/**
 * Read a 3D NIfTI-1 file that is not compressed.
 * @returns {{dims: number[], header: Uint8Array, voxels: TypedArray}} voxels in the file's order, first axis fastest
 */
export function parse(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < 352) throw new Error("The mask is not a NIfTI file: it is too short.");
  const little = view.getInt32(0, true) === 348;
  if (!little && view.getInt32(0, false) !== 348) throw new Error("The mask is not a NIfTI-1 file.");
  const dims = [1, 2, 3].map((axis) => Math.max(1, view.getInt16(40 + 2 * axis, little)));
  const Kind = READERS[view.getInt16(70, little)];
  if (!Kind) throw new Error(`Masks of NIfTI data type ${view.getInt16(70, little)} cannot be shown.`);
  const offset = Math.max(352, Math.round(view.getFloat32(108, little)));
  const count = dims[0] * dims[1] * dims[2];
  if (buffer.byteLength < offset + count * Kind.BYTES_PER_ELEMENT) throw new Error("The mask file is truncated.");
  if (!little && Kind.BYTES_PER_ELEMENT > 1) swap(new Uint8Array(buffer, offset), Kind.BYTES_PER_ELEMENT);
  const aligned = offset % Kind.BYTES_PER_ELEMENT === 0;
  const voxels = aligned ? new Kind(buffer, offset, count)
    : new Kind(buffer.slice(offset, offset + count * Kind.BYTES_PER_ELEMENT));
  return { dims, header: new Uint8Array(buffer.slice(0, offset)), voxels, little };
}

function swap(bytes, width) {
  for (let start = 0; start + width <= bytes.length; start += width) bytes.subarray(start, start + width).reverse();
}

/** The file of new voxels below the header that the mask came with, compressed. */
export async function compose(mask, voxels) {
  const body = new Uint8Array(voxels.buffer, voxels.byteOffset, voxels.byteLength);
  if (!mask.little && voxels.BYTES_PER_ELEMENT > 1) swap(body, voxels.BYTES_PER_ELEMENT);
  return new Response(new Blob([mask.header, body]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer();
}

/**
 * Where the voxels of the picture lie in the file. The viewer stores volumes with axes that run to the patient's
 * right, front and head as nearly as the file's own axes allow: axes are swapped and reversed, never interpolated.
 */
export class Grid {
  /**
   * @param {number[]} shape of the picture, first axis fastest
   * @param {number[]} start offset in the file of the picture's first voxel, by axis
   * @param {number[]} step offset in the file of one step along each axis of the picture
   * @param {number[]} axes the file's axis of each axis of the picture
   */
  constructor(shape, start, step, axes) {
    Object.assign(this, { shape, step, axes });
    this.start = start[0] + start[1] + start[2];
    this.size = shape[0] * shape[1] * shape[2];
  }

  index(x, y, z) { return x + this.shape[0] * (y + this.shape[1] * z); }

  place(index) {
    const [nx, ny] = this.shape;
    return [index % nx, Math.floor(index / nx) % ny, Math.floor(index / (nx * ny))];
  }

  /** Voxel (i, j, k) of the file for a voxel of the picture. */
  fileVoxel(place) {
    const voxel = [0, 0, 0];
    for (let axis = 0; axis < 3; axis++) {
      voxel[this.axes[axis]] = this.step[axis] > 0 ? place[axis] : this.shape[axis] - 1 - place[axis];
    }
    return voxel;
  }

  /** Voxel of the picture for voxel (i, j, k) of the file. */
  fromFile(voxel) {
    return this.axes.map((fileAxis, axis) =>
      (this.step[axis] > 0 ? voxel[fileAxis] : this.shape[axis] - 1 - voxel[fileAxis]));
  }

  /** Codes of a file's voxels, in the picture's order. */
  toPicture(voxels, codes) {
    const picture = new Uint8Array(this.size);
    const table = new Int16Array(65536).fill(-1);
    this.walk((index, offset) => {
      const value = voxels[offset];
      let code = value >= 0 && value < 65536 ? table[value] : codes.keep(value);
      if (code < 0) code = table[value] = codes.keep(value);
      picture[index] = code;
    });
    return picture;
  }

  /** Values of a picture's codes, in the file's order. */
  toFile(picture, Kind, codes) {
    const voxels = new Kind(this.size);
    const { value } = codes;
    this.walk((index, offset) => { voxels[offset] = value[picture[index]]; });
    return voxels;
  }

  walk(visit) {
    const [nx, ny, nz] = this.shape;
    const [sx, sy, sz] = this.step;
    let index = 0;
    for (let z = 0; z < nz; z++) {
      for (let y = 0; y < ny; y++) {
        let offset = this.start + z * sz + y * sy;
        for (let x = 0; x < nx; x++, offset += sx) visit(index++, offset);
      }
    }
  }
}

/** Values of the structures and the codes 1 to 255 that the picture stores for them; equal wherever values allow. */
export class Codes {
  constructor(values) {
    const small = values.every((value) => Number.isInteger(value) && value > 0 && value < 256);
    if (!small && values.length > 255) throw new Error("The viewer shows at most 255 structures.");
    this.value = new Float64Array(256);
    this.codes = new Map();
    values.forEach((value, at) => this.add(value, small ? value : at + 1));
  }

  add(value, code) {
    this.value[code] = value;
    this.codes.set(value, code);
  }

  of(value) { return this.codes.get(value) ?? 0; }

  /** Code of a voxel's value; a value that no structure names gets a code of its own, so it is saved as it was. */
  keep(value) {
    if (value === 0) return 0;
    const known = this.codes.get(value);
    if (known !== undefined) return known;
    let code = value > 0 && value < 256 && this.value[value] === 0 ? value : 255;
    while (code > 0 && this.value[code] !== 0) code--;
    if (code < 1) throw new Error("The mask holds more than 255 values.");
    this.add(value, code);
    return code;
  }
}
