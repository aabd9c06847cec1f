/** From where boxes fill a window. Pure but for three's vectors. */
import { Box3, Vector3 } from "three";

/** Pixels kept free at the window's edges for badges above and names below. */
const EDGES = { top: 54, bottom: 34, side: 14 };

/**
 * Where a camera with that vertical field of view (degrees) stands and looks at, from `direction` (towards the camera), so
 * that the boxes fill a window of `width` x `height` pixels but for its edges.
 */
export function fitted(
  boxes: readonly Box3[], direction: Vector3, fieldOfView: number, width: number, height: number,
): { position: Vector3; target: Vector3 } {
  const side = new Vector3().crossVectors(direction.clone().negate(), new Vector3(0, 0, 1)).normalize();
  const up = new Vector3().crossVectors(side, direction.clone().negate());
  const vertical = Math.tan((fieldOfView * Math.PI) / 360);
  const horizontal = (vertical * width) / height;
  const free = {
    left: -1 + (2 * EDGES.side) / width, right: 1 - (2 * EDGES.side) / width,
    low: -1 + (2 * EDGES.bottom) / height, high: 1 - (2 * EDGES.top) / height,
  };
  const whole = new Box3();
  for (const box of boxes) whole.union(box);
  const target = whole.getCenter(new Vector3());
  const corners = boxes.flatMap(({ min, max }) =>
    Array.from({ length: 8 }, (_, i) => new Vector3(i & 1 ? max.x : min.x, i & 2 ? max.y : min.y, i & 4 ? max.z : min.z)),
  );
  let distance = whole.getSize(new Vector3()).length() * 2 + 1;
  // Perspective makes this no closed formula; a few rounds of "scale and centre what is seen" settle it.
  for (let round = 0; round < 8; round++) {
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const corner of corners) {
      const p = corner.clone().sub(target);
      const depth = Math.max(0.05, distance - p.dot(direction));
      left = Math.min(left, p.dot(side) / depth / horizontal);
      right = Math.max(right, p.dot(side) / depth / horizontal);
      low = Math.min(low, p.dot(up) / depth / vertical);
      high = Math.max(high, p.dot(up) / depth / vertical);
    }
    const scale = Math.max((right - left) / (free.right - free.left), (high - low) / (free.high - free.low));
    target.addScaledVector(side, ((left + right - free.left - free.right) / 2) * distance * horizontal);
    target.addScaledVector(up, ((low + high - free.low - free.high) / 2) * distance * vertical);
    distance = Math.max(1.2, distance * (0.1 + 0.9 * scale));
  }
  return { position: target.clone().addScaledVector(direction, distance), target };
}
