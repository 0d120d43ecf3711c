// The only file that touches NiiVue (0.69.0, vendor/). NiiVue shows the scan and colours the mask; what the mouse and
// the keyboard do, drawing and saving are this page's own, in voxels of the picture, so another viewer fits here.
import { greys } from "./greys.js";
import { Grid, inflate } from "./nifti.js";
import { planeAxes } from "./pen.js";

const DRAWING_TEXTURE = 33991; // WebGL's TEXTURE7, where NiiVue's shaders look for the drawing
const SCAN_TEXTURE = 33984; // TEXTURE0
const GRADIENTS = [33990, 33992]; // TEXTURE6 and TEXTURE8: what only a rendering in three dimensions needs
const COLOURS = [128, 2304]; // NIfTI's data types RGB24 and RGBA32
const CUT_ACROSS = [2, 1, 0]; // the axis of the picture that axial, coronal and sagittal slices are cut across
export const PLANES = ["Axial", "Coronal", "Sagittal"];

export class Picture {
  /** @param {HTMLCanvasElement} canvas inside a positioned parent  @param {Function} drawn called after each redraw */
  constructor(canvas, drawn) {
    const { Niivue, MULTIPLANAR_TYPE, SHOW_RENDER } = window.niivue;
    this.nv = new Niivue({
      interactive: false, dragAndDropEnabled: false, logLevel: "error", loadingText: "", isColorbar: false,
      backColor: [0, 0, 0, 1], crosshairWidth: 0, fontColor: [0.85, 0.85, 0.85, 1],
      multiplanarLayout: MULTIPLANAR_TYPE?.AUTO ?? 0, multiplanarShowRender: SHOW_RENDER?.NEVER ?? 0,
      multiplanarPadPixels: 4, fontMinPx: 13, maxDrawUndoBitmaps: 1,
    });
    this.canvas = canvas;
    this.drawn = drawn;
    this.inverted = false;
    this.withoutGradients();
    this.withOwnGreys();
  }

  /**
   * NiiVue works out the gradient of every voxel whenever a scan or its window changes: twice the memory of the picture
   * and most of the time, for a rendering that is never shown. Its textures shrink to one voxel a slice.
   */
  withoutGradients() {
    const make = this.nv.rgbaTex.bind(this.nv);
    this.nv.rgbaTex = (texture, unit, dims, ...rest) =>
      make(texture, unit, GRADIENTS.includes(unit) ? [dims[0], 1, 1, dims[3]] : dims, ...rest);
  }

  /**
   * NiiVue uploads a scan and draws each of its slices into a texture of four bytes a voxel whenever the window changes:
   * without a graphics card that is most of the time until a large scan is there. Grey levels are looked up in a table
   * instead, and take one byte; what NiiVue makes meanwhile has one voxel a slice.
   */
  withOwnGreys() {
    const refresh = this.nv.refreshLayers.bind(this.nv);
    this.nv.refreshLayers = (volume, layer) => {
      if (COLOURS.includes(volume.hdr.datatypeCode)) return refresh(volume, layer);
      const { gl } = this.nv;
      const store = gl.texStorage3D.bind(gl);
      gl.texStorage3D = (target, levels, format, nx, ny, nz) => store(target, levels, format, 1, 1, nz);
      gl.texSubImage3D = () => {};
      try {
        refresh(volume, layer);
      } finally {
        delete gl.texStorage3D;
        delete gl.texSubImage3D;
      }
      return this.putGreys(volume);
    };
  }

  /** A 2D image has no directions in the patient: no letters stand at its edges. */
  setFlat() { this.nv.opts.isOrientationTextVisible = false; }

  /** Show low values bright; colours stay as they are. */
  setInverted(inverted) {
    if (inverted === this.inverted) return;
    this.inverted = inverted;
    this.nv.opts.fontColor = inverted ? [0.8, 0.4, 0, 1] : [0.85, 0.85, 0.85, 1];
    this.nv.updateGLVolume();
    this.redraw();
  }

  putGreys(volume) {
    const { gl } = this.nv;
    gl.activeTexture(SCAN_TEXTURE);
    gl.bindTexture(gl.TEXTURE_3D, this.nv.volumeTexture);
    const kept = [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER, gl.TEXTURE_WRAP_R, gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]
      .map((name) => [name, gl.getTexParameter(gl.TEXTURE_3D, name)]);
    gl.deleteTexture(this.nv.volumeTexture);
    this.nv.volumeTexture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_3D, this.nv.volumeTexture);
    for (const [name, value] of kept) gl.texParameteri(gl.TEXTURE_3D, name, value);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    const [, ...shape] = volume.dimsRAS;
    gl.texImage3D(gl.TEXTURE_3D, 0, gl.LUMINANCE, ...shape, 0, gl.LUMINANCE, gl.UNSIGNED_BYTE, greys(volume, this.inverted));
  }

  async open() {
    await this.nv.attachToCanvas(this.canvas, false);
    this.nv.setRadiologicalConvention(true);
    const draw = this.nv.drawScene.bind(this.nv);
    this.nv.drawScene = () => { const result = draw(); if (this.grid) this.drawn(); return result; };
  }

  /** Show a scan, NIfTI or compressed NIfTI. The grid of the picture is known afterwards. */
  async load(buffer, { low, high } = {}) {
    const { NVImage } = window.niivue;
    const image = await NVImage.new(await inflate(buffer), "scan.nii", "gray", 1, null, low ?? NaN, high ?? NaN);
    this.show(image);
  }

  /** Show another channel of the same scan; the mask stays. */
  async replace(buffer, window) {
    const { cursor, mask, volume } = this;
    this.nv.removeVolume(volume);
    await this.load(buffer, window);
    this.setMask(mask);
    this.setCursor(cursor);
  }

  /** Show the scan of another picture, without a second copy of its voxels in memory. */
  share(other) {
    if (this.volume) this.nv.removeVolume(this.volume);
    this.show(other.volume);
  }

  show(image) {
    this.volume = image;
    this.nv.addVolume(image);
    const [, nx, ny, nz] = image.dimsRAS;
    const axes = image.permRAS.slice(0, 3).map((signed) => Math.abs(signed) - 1);
    this.grid = new Grid([nx, ny, nz], image.img2RASstart, image.img2RASstep, axes);
    this.spacing = [1, 2, 3].map((axis) => image.pixDimsRAS[axis]);
    this.nv.setSliceType(this.nv.sliceTypeMultiplanar);
  }

  /** Use an array of codes as the mask on show; it is not copied. */
  setMask(mask) {
    this.mask = mask;
    const { nv } = this;
    nv.drawBitmap = null;
    nv.drawTexture = nv.r8Tex(nv.drawTexture, DRAWING_TEXTURE, [3, ...this.grid.shape], true);
    this.refresh([[0, 0, 0], this.grid.shape.map((length) => length - 1)]);
  }

  /** Send a box of the mask to the graphics memory: corners in voxels of the picture, both included. */
  refresh([low, high]) {
    const { gl } = this.nv;
    const [nx, ny] = this.grid.shape;
    gl.activeTexture(DRAWING_TEXTURE);
    gl.bindTexture(gl.TEXTURE_3D, this.nv.drawTexture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.pixelStorei(gl.UNPACK_ROW_LENGTH, nx);
    gl.pixelStorei(gl.UNPACK_IMAGE_HEIGHT, ny);
    gl.pixelStorei(gl.UNPACK_SKIP_PIXELS, low[0]);
    gl.pixelStorei(gl.UNPACK_SKIP_ROWS, low[1]);
    gl.pixelStorei(gl.UNPACK_SKIP_IMAGES, low[2]);
    const size = low.map((from, axis) => high[axis] - from + 1);
    gl.texSubImage3D(gl.TEXTURE_3D, 0, ...low, ...size, gl.RED, gl.UNSIGNED_BYTE, this.mask);
    for (const name of ["ROW_LENGTH", "IMAGE_HEIGHT", "SKIP_PIXELS", "SKIP_ROWS", "SKIP_IMAGES"]) {
      gl.pixelStorei(gl[`UNPACK_${name}`], 0);
    }
    this.redraw();
  }

  /** Colours by code: [r, g, b] or null for what is hidden. */
  setColors(colors) {
    const { lut } = this.nv.drawLut;
    lut.fill(0);
    for (const [code, color] of colors) if (color) lut.set([...color, 255], code * 4);
    this.nv.refreshColormaps(); // not updateGLVolume, which would colour every voxel of the scan again
    this.redraw();
  }

  /** How strongly structures are filled, 0 to 1, and whether they have a contour. */
  setStyle(fill, contour) {
    this.nv.drawOpacity = Math.max(fill, 0.004); // at 0 NiiVue draws no contour either
    this.nv.drawRimOpacity = contour ? 1 : -1;
    this.redraw();
  }

  setWindow(low, high) {
    this.volume.cal_min = low;
    this.volume.cal_max = high;
    this.nv.updateGLVolume();
    this.redraw();
  }

  get window() { return [this.volume.cal_min, this.volume.cal_max]; }

  /** Show one plane (0 axial, 1 coronal, 2 sagittal) or, with null, all three. */
  setPlane(plane) {
    const { nv } = this;
    nv.setSliceType([nv.sliceTypeAxial, nv.sliceTypeCoronal, nv.sliceTypeSagittal][plane] ?? nv.sliceTypeMultiplanar);
  }

  get cursor() {
    return this.grid.shape.map((length, axis) =>
      Math.min(length - 1, Math.max(0, Math.floor(this.nv.scene.crosshairPos[axis] * length))));
  }

  setCursor(place) {
    const { shape } = this.grid;
    for (let axis = 0; axis < 3; axis++) {
      const inside = Math.min(shape[axis] - 1, Math.max(0, place[axis]));
      this.nv.scene.crosshairPos[axis] = (inside + 0.5) / shape[axis];
    }
    this.redraw();
  }

  /** Intensity of a voxel of the picture, in the scan's units. */
  intensity(place) {
    const { img, img2RASstart: start, img2RASstep: step, hdr } = this.volume;
    const at = place.reduce((sum, one, axis) => sum + start[axis] + one * step[axis], 0);
    return img[at] * (hdr.scl_slope || 1) + hdr.scl_inter;
  }

  /** Zoom about the cursor and move: millimetres right, front and up. */
  pan(change, zoom) {
    const now = this.nv.scene.pan2Dxyzmm;
    const next = Math.min(12, Math.max(0.5, zoom ? now[3] * zoom : now[3]));
    this.nv.setPan2Dxyzmm([now[0] + change[0], now[1] + change[1], now[2] + change[2], next]);
  }

  resetView() { this.nv.setPan2Dxyzmm([0, 0, 0, 1]); }

  /** The slices on screen, with the mapping between canvas pixels and voxels. */
  panes() {
    return this.nv.screenSlices
      .map((slice, tile) => ({ slice, tile }))
      .filter(({ slice }) => slice.axCorSag <= 2)
      .map(({ slice, tile }) => this.pane(slice, tile));
  }

  pane({ axCorSag: plane, leftTopWidthHeight: [x0, top, across, height] }, tile) {
    const axis = CUT_ACROSS[plane];
    const [u, v] = planeAxes(axis);
    const { shape } = this.grid;
    const width = Math.abs(across); // NiiVue marks mirrored slices by a negative width
    const left = Math.min(x0, x0 + across);
    const [first, last] = [0.1, 0.9].map((part) => {
      const frac = this.nv.screenXY2TextureFrac(left + part * width, top + part * height, tile, false);
      return [frac[u] * shape[u], frac[v] * shape[v]];
    });
    const per = [(last[0] - first[0]) / (0.8 * width), (last[1] - first[1]) / (0.8 * height)];
    const origin = [first[0] - 0.1 * width * per[0], first[1] - 0.1 * height * per[1]];
    return {
      plane, axis, left, top, width, height, at: this.cursor[axis],
      holds: (x, y) => x >= left && y >= top && x < left + width && y < top + height,
      toCell: (x, y) => [origin[0] + (x - left) * per[0], origin[1] + (y - top) * per[1]],
      toCanvas: (cu, cv) => [left + (cu - origin[0]) / per[0], top + (cv - origin[1]) / per[1]],
    };
  }

  /** Draw with the browser's next frame, however often it was asked for until then. */
  redraw() { this.frame ??= requestAnimationFrame(() => { this.frame = null; this.nv.drawScene(); }); }
}
