// A tile for each layer, filled by what is left of its channels; those that a group reaches light up together.
import type { Group } from "metaprune";

export interface Tile { name: string; made: Group[]; reached: Set<string> } // made: the groups of its output channels; reached: IDs of groups

export function tilesOf(groups: Group[]): Tile[] {
  const tiles = new Map<string, Tile>();
  for (const g of groups) {
    for (const m of g.members) {
      if (m.role === "norm" || m.role === "other") continue;
      const tile = tiles.get(m.tensor) ?? { name: m.name, made: [], reached: new Set<string>() };
      tiles.set(m.tensor, tile);
      tile.reached.add(g.id);
      if (m.role !== "input") tile.made.push(g);
    }
  }
  return [...tiles.values()];
}

// shareOf is how much of a layer's channels is left: heads times channels of each head, and otherwise the sum over the groups that share its channels.
function shareOf(groups: Group[], left: Map<string, number>): number {
  const factors = groups.filter((g) => g.kind);
  const rest = groups.filter((g) => !g.kind);
  const all = rest.reduce((n, g) => n + g.units, 0);
  const share = all === 0 ? 1 : rest.reduce((n, g) => n + g.units * (left.get(g.id) ?? 1), 0) / all;
  return factors.reduce((n, g) => n * (left.get(g.id) ?? 1), share);
}

export function drawTiles(list: HTMLElement, tiles: Tile[], left: Map<string, number>) {
  list.replaceChildren(
    ...tiles.map((t) => {
      const item = document.createElement("li");
      const share = shareOf(t.made, left);
      item.title = `${t.name}: ${Math.round(100 * share)} % of its channels kept`;
      item.style.setProperty("--kept", `${100 * share}%`);
      return item;
    }),
  );
}

// light marks the layers of a group; undefined marks none.
export function light(list: HTMLElement, tiles: Tile[], group: string | undefined): number {
  let lit = 0;
  tiles.forEach((t, i) => {
    const on = group !== undefined && t.reached.has(group);
    list.children[i]?.classList.toggle("lit", on);
    lit += on ? 1 : 0;
  });
  return lit;
}
