// The way between voxels of the file and millimetres.

/** Solve the affine for the voxel that lies at a place, by Cramer's rule. */
export function solve(affine, mm) {
  const columns = [0, 1, 2].map((axis) => affine.slice(0, 3).map((row) => row[axis]));
  const right = mm.map((one, row) => one - affine[row][3]);
  const determinant = (a, b, c) => a[0] * (b[1] * c[2] - b[2] * c[1]) - b[0] * (a[1] * c[2] - a[2] * c[1])
    + c[0] * (a[1] * b[2] - a[2] * b[1]);
  const whole = determinant(...columns);
  return [0, 1, 2].map((axis) => determinant(...columns.map((column, at) => (at === axis ? right : column))) / whole);
}
