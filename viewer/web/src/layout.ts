/** Lays sites out side by side so that together they fill a window. Pure. */
export interface Rectangle {
  left: number;
  bottom: number;
  width: number;
  depth: number;
}

/**
 * How far each rectangle moves (x, y) so that the whole comes near `aspect` (width / depth): of all splits into columns in
 * the given order, the one that would be drawn largest. Beyond ten rectangles only equal columns are tried.
 */
export function pack(sites: readonly Rectangle[], aspect: number, gap: number): [number, number][] {
  const count = sites.length;
  let best = { scale: 0, spots: sites.map((): [number, number] => [0, 0]) };
  const splits = count <= 10 ? 2 ** Math.max(0, count - 1) : count;
  for (let split = 0; split < splits; split++) {
    const spots: [number, number][] = [];
    let [x, y, wide, depth] = [0, 0, 0, 0];
    sites.forEach((site, i) => {
      const cut = count <= 10 ? (split >> (i - 1)) & 1 : i % (split + 1) === 0;
      if (i > 0 && cut) [x, y, wide] = [x + wide + gap, 0, 0];
      spots.push([x - site.left, y - site.bottom]);
      depth = Math.max(depth, y + site.depth);
      y += site.depth + gap;
      wide = Math.max(wide, site.width);
    });
    const scale = Math.min(aspect / Math.max(x + wide, 1e-9), 1 / Math.max(depth, 1e-9));
    if (scale > best.scale * (1 + 1e-9)) best = { scale, spots };
  }
  return best.spots;
}
