// Arrays of NumPy's .npz files and of IDX files, as far as samples need them.

/** Numbers of an array: pixels where they are bytes. */
export interface NumPy { dims: number[]; data: Float32Array | Uint8Array }

const most = 1 << 30; // bytes that a packed file may unpack to

async function through(name: string, bytes: Uint8Array, format: "gzip" | "deflate-raw"): Promise<Uint8Array> {
  const reader = new Blob([bytes as BlobPart]).stream().pipeThrough(new DecompressionStream(format as CompressionFormat)).getReader();
  const parts: Uint8Array[] = [];
  let size = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    if ((size += part.value.length) > most) {
      await reader.cancel();
      throw new Error(`${name} unpacks to more than ${most} bytes`);
    }
  }
  return new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
}

const view = (b: Uint8Array) => new DataView(b.buffer, b.byteOffset, b.byteLength);
const text = (b: Uint8Array) => new TextDecoder().decode(b);

/** The files of a ZIP archive by name. */
async function unzip(zip: Uint8Array): Promise<Map<string, Uint8Array>> {
  const v = view(zip);
  let end = zip.length - 22;
  while (end >= 0 && v.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw new Error("not an .npz file: the end of the ZIP archive is missing");
  const files = new Map<string, Uint8Array>();
  let at = v.getUint32(end + 16, true);
  for (let n = v.getUint16(end + 10, true); n > 0; n--) {
    const method = v.getUint16(at + 10, true);
    const size = v.getUint32(at + 20, true);
    const [nameSize, extra, comment] = [v.getUint16(at + 28, true), v.getUint16(at + 30, true), v.getUint16(at + 32, true)];
    const local = v.getUint32(at + 42, true);
    const from = local + 30 + v.getUint16(local + 26, true) + v.getUint16(local + 28, true);
    const name = text(zip.subarray(at + 46, at + 46 + nameSize));
    const packed = zip.subarray(from, from + size);
    if (method !== 0 && method !== 8) throw new Error(`${name} is compressed by a method that this page cannot read`);
    files.set(name, method === 0 ? packed : await through(name, packed, "deflate-raw"));
    at += 46 + nameSize + extra + comment;
  }
  return files;
}

/** One .npy file. */
function npy(name: string, file: Uint8Array): NumPy {
  if (text(file.subarray(1, 6)) !== "NUMPY") throw new Error(`${name} is no NumPy array`);
  const wide = file[6]! > 1;
  const start = wide ? 12 : 10;
  const size = wide ? view(file).getUint32(8, true) : view(file).getUint16(8, true);
  const head = text(file.subarray(start, start + size));
  const type = /'descr':\s*'([<|=>]?\w+)'/.exec(head)?.[1]?.replace(/^[<|=]/, "");
  const shape = /'shape':\s*\(([^)]*)\)/.exec(head)?.[1];
  if (shape === undefined) throw new Error(`array ${name} has no shape`);
  const dims = [...shape.matchAll(/\d+/g)].map(Number);
  if (/'fortran_order':\s*True/.test(head)) throw new Error(`array ${name} is in Fortran order; save it in C order`);
  const body = file.slice(start + size);
  const width = { u1: 1, f4: 4, f8: 8 }[type ?? ""] ?? 0;
  const wanted = dims.reduce((n, d) => n * d, width);
  if (width > 0 && body.length !== wanted) throw new Error(`array ${name} has ${body.length} bytes, but its shape [${dims.join(", ")}] needs ${wanted}`);
  switch (type) {
    case "u1":
      return { dims, data: body };
    case "f4":
      return { dims, data: new Float32Array(body.buffer, 0, body.length >> 2) };
    case "f8":
      return { dims, data: Float32Array.from(new Float64Array(body.buffer, 0, body.length >> 3)) };
  }
  throw new Error(`array ${name} is of type ${type ?? "unknown"}; want float32, float64 or uint8`);
}

/** The arrays of an .npz file by name. */
export async function readNPZ(file: Blob): Promise<Map<string, NumPy>> {
  const files = await unzip(new Uint8Array(await file.arrayBuffer()));
  return new Map([...files].map(([name, bytes]) => [name.replace(/\.npy$/, ""), npy(name, bytes)]));
}

/** Images of an IDX file, gzipped or not. */
export async function readIDX(file: Blob): Promise<NumPy> {
  let bytes: Uint8Array = new Uint8Array(await file.arrayBuffer());
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) bytes = await through("the IDX file", bytes, "gzip");
  if (bytes[0] !== 0 || bytes[1] !== 0 || bytes[2] !== 8) throw new Error("not an IDX file of bytes");
  const dims = Array.from({ length: bytes[3]! }, (_, i) => view(bytes).getUint32(4 + 4 * i));
  return { dims, data: bytes.subarray(4 + 4 * dims.length) };
}
