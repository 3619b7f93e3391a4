// A word's map over the picture. What the word stands on stays bright, and the rest is veiled, as on the page that
// `mplug caption --explain` writes. A map is a list of rows * columns numbers, row by row.

/** Colour of the veil, and how dense it is over what says nothing. */
const VEIL = [10, 12, 32];
/** What the removed part is painted with. The measure in docs/explain.md paints it so, too. */
const GREY = [127, 127, 127];
/** Which share of the patches is removed: that of the measure in docs/explain.md. */
const REMOVED = 0.1;

/** The largest value of a map, at least 0. */
export const largest = (map) => map.reduce((most, value) => Math.max(most, value), 0);

/** The patches where a map is largest: a tenth of all, at least one. */
export function strongest(map) {
  const count = Math.max(1, Math.round(map.length * REMOVED));
  return [...map.keys()].sort((a, b) => map[b] - map[a]).slice(0, count);
}

/** Row and column, 0 to 2 each, of the ninth of the picture in which the strongest patches have their centre. */
export function place(map, [rows, columns]) {
  let [down, right, sum] = [0, 0, 0];
  for (const patch of strongest(map)) {
    const weight = Math.max(map[patch], 1e-9);
    down += weight * (Math.floor(patch / columns) + 0.5);
    right += weight * ((patch % columns) + 0.5);
    sum += weight;
  }
  const third = (centre, size) => Math.min(2, Math.floor((3 * centre) / sum / size));
  return [third(down, rows), third(right, columns)];
}

/** Draws a veil, bare where the map is largest. `density` (0 to 1) is that of the densest part. */
export function drawVeil(canvas, map, grid, density) {
  const most = Math.max(largest(map), 1e-9);
  draw(canvas, grid, (patch) => {
    const value = Math.min(1, Math.max(0, map[patch] / most));
    return [...VEIL, 255 * density * (1 - value ** 0.8)];
  });
  canvas.classList.remove("is-hard");
}

/** Paints the strongest patches over. */
export function drawDeletion(canvas, map, grid) {
  const removed = new Set(strongest(map));
  draw(canvas, grid, (patch) => [...GREY, removed.has(patch) ? 255 : 0]);
  canvas.classList.add("is-hard");
}

/** A pixel a patch. The style sheet stretches the canvas over the picture, smoothly unless it is hard. */
function draw(canvas, [rows, columns], colour) {
  canvas.width = columns;
  canvas.height = rows;
  const pixels = new ImageData(columns, rows);
  for (let patch = 0; patch < rows * columns; patch += 1) pixels.data.set(colour(patch), 4 * patch);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}
