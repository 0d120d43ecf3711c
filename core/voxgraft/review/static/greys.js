// Grey levels of a scan in a window, in the order of the picture.

/**
 * @param {object} volume of the viewer: voxels in the file's order, their scaling, the window, and where the picture's lie
 * @param {boolean} inverted whether low values are bright
 * @returns {Uint8Array} 0 (black and below) to 255, first axis of the picture fastest; 0 where a voxel is not a number
 */
export function greys({ img, hdr, cal_min: low, cal_max: high, dimsRAS, img2RASstart: start, img2RASstep: step }, inverted) {
  const [, nx, ny, nz] = dimsRAS;
  const [black, white] = inverted ? [high, low] : [low, high];
  const scale = (255 * (hdr.scl_slope || 1)) / (white - black), shift = (255 * ((hdr.scl_inter || 0) - black)) / (white - black);
  const level = (value) => Math.min(255, Math.max(0, Math.round(value * scale + shift)));
  const table = tableOf(img, level);
  const shown = new Uint8Array(nx * ny * nz);
  let index = 0;
  for (let z = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      let at = start[0] + start[1] + start[2] + z * step[2] + y * step[1];
      if (table) for (let x = 0; x < nx; x++, at += step[0]) shown[index++] = table[img[at] & 65535];
      else for (let x = 0; x < nx; x++, at += step[0]) shown[index++] = level(img[at]);
    }
  }
  return shown;
}

/** The grey level of each whole number of at most 16 bits, by its lowest 16 bits; null for other voxels. */
function tableOf(img, level) {
  const signed = img instanceof Int16Array || img instanceof Int8Array;
  if (!signed && !(img instanceof Uint16Array || img instanceof Uint8Array)) return null;
  return Uint8Array.from({ length: 65536 }, (_, bits) => level(signed && bits > 32767 ? bits - 65536 : bits));
}
