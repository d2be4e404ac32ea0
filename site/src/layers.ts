// A tile for each layer, filled by what is left of its channels; those that a group reaches light up together.
import type { Group } from "metaprune";

export interface Tile { tensor: string; made: string; reached: Set<string> } // made: the group of its output channels

export function tilesOf(groups: Group[]): Tile[] {
  const tiles = new Map<string, Tile>();
  for (const g of groups) {
    for (const m of g.members) {
      if (m.role === "norm" || m.role === "other") continue;
      const tile = tiles.get(m.tensor) ?? { tensor: m.tensor, made: "", reached: new Set<string>() };
      tiles.set(m.tensor, tile);
      tile.reached.add(g.name);
      if (m.role !== "input") tile.made = g.name;
    }
  }
  return [...tiles.values()];
}

export function drawTiles(list: HTMLElement, tiles: Tile[], left: Map<string, number>) {
  list.replaceChildren(
    ...tiles.map((t) => {
      const item = document.createElement("li");
      const share = left.get(t.made) ?? 1;
      item.title = `${t.tensor}: ${Math.round(100 * share)} % of its channels left`;
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
