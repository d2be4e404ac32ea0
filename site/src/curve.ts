// The accuracy of a bundled example over its speed-up, measured with the command line, as a picture with a mark where the slider stands.

export interface Curve { measured: string; lines: { name: string; points: [number, number][] }[] }

const WIDTH = 560, HEIGHT = 220, LEFT = 46, BOTTOM = 30, TOP = 12, RIGHT = 150;
const across = (speedUp: number, most: number) => LEFT + ((WIDTH - LEFT - RIGHT) * Math.log(Math.max(speedUp, 1))) / Math.log(most);
const down = (accuracy: number) => TOP + ((HEIGHT - TOP - BOTTOM) * (100 - accuracy)) / 100;

function shape(tag: string, attributes: Record<string, string | number>, text = "") {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, String(v));
  if (text) e.textContent = text;
  return e;
}

// between is the accuracy at a speed-up on a line of measured points; undefined beyond them.
export function between(points: [number, number][], speedUp: number): number | undefined {
  for (let i = 1; i < points.length; i++) {
    const [a, b] = [points[i - 1]!, points[i]!];
    if (speedUp >= a[0] && speedUp <= b[0]) return a[1] + ((b[1] - a[1]) * (speedUp - a[0])) / (b[0] - a[0]);
  }
  return undefined;
}

export function drawCurve(svg: SVGSVGElement, curve: Curve, speedUp: number): string {
  const most = Math.max(...curve.lines.flatMap((l) => l.points.map((p) => p[0])));
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  const parts: SVGElement[] = [];
  for (const percent of [0, 50, 100]) {
    parts.push(shape("path", { d: `M${LEFT} ${down(percent)}H${WIDTH - RIGHT}`, class: "grid" }), shape("text", { x: LEFT - 6, y: down(percent) + 4, "text-anchor": "end" }, `${percent} %`));
  }
  for (const times of [1, 1.5, 2, 3, 4, 6].filter((t) => t <= most)) parts.push(shape("text", { x: across(times, most), y: HEIGHT - 8, "text-anchor": "middle" }, `${times}x`));
  const said: string[] = [];
  curve.lines.forEach((line, i) => {
    const last = line.points[line.points.length - 1]!;
    parts.push(shape("path", { d: "M" + line.points.map(([s, a]) => `${across(s, most).toFixed(1)} ${down(a).toFixed(1)}`).join("L"), class: `line line${i}` }));
    parts.push(shape("text", { x: across(last[0], most) + 8, y: down(last[1]) + 4, class: `name${i}` }, line.name));
    const here = between(line.points, speedUp);
    if (here !== undefined) {
      parts.push(shape("circle", { cx: across(speedUp, most), cy: down(here), r: 5, class: `mark mark${i}` }));
      said.push(`${here.toFixed(0)} % ${line.name}`);
    }
  });
  svg.replaceChildren(...parts);
  const text = said.length > 0 ? `About ${said.join(", ")} at ${speedUp.toFixed(2)}x. ${curve.measured}` : curve.measured;
  svg.setAttribute("aria-label", text);
  return text;
}
