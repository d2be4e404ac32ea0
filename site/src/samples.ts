// Samples that someone drops: pictures, an .npz file or an IDX file become arrays of the model's inputs.
import type { Input, Samples } from "metaprune";
import { readIDX, readNPZ, type NumPy } from "./npz";

/** How pixels become numbers: (pixel / 255 - mean) / deviation, one of each for a channel. */
export interface Scale { mean: number[]; deviation: number[] }

export const scales: Record<string, Scale> = {
  unit: { mean: [0], deviation: [1] },
  signed: { mean: [0.5], deviation: [0.5] },
  imagenet: { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] },
  fashion: { mean: [0.286], deviation: [0.353] },
};

const most = 100;

/** scaled turns pixels [pictures, channels, area] into numbers. */
function scaled(pixels: Uint8Array, channels: number, area: number, { mean, deviation }: Scale): Float32Array {
  return Float32Array.from(pixels, (p, i) => {
    const c = Math.floor(i / area) % channels;
    return (p / 255 - mean[c % mean.length]!) / deviation[c % deviation.length]!;
  });
}

/** plane is the size that pictures are brought to. */
function plane(inputs: Input[]): [string, number, number, number] {
  const [only] = inputs;
  const [, c = 0, h = 0, w = 0] = only?.dims ?? [];
  if (inputs.length !== 1 || only!.dims.length !== 4 || (c !== 1 && c !== 3) || h < 1 || w < 1) throw new Error("Pictures work only for models with one input of shape [batch, 1 or 3, height, width]; give an .npz file with an array for every input.");
  return [only!.name, c, h, w];
}

/** picture draws the middle of a picture as the command line does: the shorter side at 256/224 of the input's, then the crop. */
async function picture(file: Blob, channels: number, height: number, width: number): Promise<Uint8Array> {
  const bitmap = await createImageBitmap(file);
  const scale = Math.floor((Math.max(height, width) * 256) / 224) / Math.min(bitmap.width, bitmap.height);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  const [w, h] = [width / scale, height / scale];
  context.drawImage(bitmap, (bitmap.width - w) / 2, (bitmap.height - h) / 2, w, h, 0, 0, width, height);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  const area = width * height;
  const out = new Uint8Array(channels * area);
  for (let i = 0; i < area; i++) {
    const [r, g, b] = [rgba[4 * i]!, rgba[4 * i + 1]!, rgba[4 * i + 2]!];
    if (channels === 1) out[i] = 0.299 * r + 0.587 * g + 0.114 * b;
    else [out[i], out[area + i], out[2 * area + i]] = [r, g, b];
  }
  return out;
}

async function pictures(files: File[], inputs: Input[], scale: Scale): Promise<Samples[]> {
  const [name, c, h, w] = plane(inputs);
  const list = files.slice(0, most);
  const pixels = new Uint8Array(list.length * c * h * w);
  for (const [i, file] of list.entries()) {
    try {
      pixels.set(await picture(file, c, h, w), i * c * h * w);
    } catch {
      throw new Error(`${file.name} is not a picture that this browser can read.`);
    }
  }
  return [{ name, dims: [list.length, c, h, w], data: scaled(pixels, c, h * w, scale) }];
}

/** pixelsOf takes an array of pixels, [pictures, height, width] or [pictures, channels, height, width], for the only input. */
function pixelsOf(a: NumPy, inputs: Input[], scale: Scale): Samples[] {
  const [name, c, h, w] = plane(inputs);
  const n = Math.min(a.dims[0] ?? 0, most);
  if (a.data.length !== a.dims[0]! * c * h * w) throw new Error(`The pictures have shape [${a.dims.slice(1).join(", ")}], but the input needs [${c}, ${h}, ${w}].`);
  const own = a.data.subarray(0, n * c * h * w);
  return [{ name, dims: [n, c, h, w], data: own instanceof Float32Array ? own.slice() : scaled(own, c, h * w, scale) }];
}

async function arrays(file: File, inputs: Input[], scale: Scale): Promise<Samples[]> {
  const found = await readNPZ(file);
  const images = found.get("images") ?? found.get("x") ?? found.get("x_train");
  if (images && !found.has(inputs[0]!.name)) return pixelsOf(images, inputs, scale);
  return inputs.map(({ name }) => {
    const a = found.get(name);
    if (!a || a.data instanceof Uint8Array) throw new Error(`${file.name} has no array "${name}" of real numbers; it has ${[...found.keys()].join(", ")}.`);
    return { name, dims: a.dims, data: a.data };
  });
}

/** readSamples reads what was dropped. */
export async function readSamples(files: File[], inputs: Input[], scale: Scale): Promise<Samples[]> {
  const [first] = files;
  if (first && /\.npz$/i.test(first.name)) return arrays(first, inputs, scale);
  if (first && /idx\d-ubyte(\.gz)?$/i.test(first.name)) return pixelsOf(await readIDX(first), inputs, scale);
  return pictures(files, inputs, scale);
}
