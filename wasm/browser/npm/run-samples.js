// How an ONNX Runtime runs models for repairs: one sample after the other, with the outputs one behind the other along the first axis.

const raw = (a) => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);

// feed is one sample of every input.
function feed(ort, feeds, sample, samples) {
  const out = {};
  for (const { name, dims, data, stacked } of feeds) {
    const numbers = new Float32Array(data.buffer, data.byteOffset, data.byteLength / 4);
    const size = numbers.length / samples;
    out[name] = stacked ? new ort.Tensor("float32", numbers.subarray(sample * size, (sample + 1) * size), [dims[0] / samples, ...dims.slice(1)]) : new ort.Tensor("float32", numbers, dims);
  }
  return out;
}

const equal = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);

// stack lays samples' values one behind the other. Whole numbers and scalars have to be the same for all samples: they are sizes, and stay as they are.
class Stack {
  add(value, name, sample, samples) {
    const bytes = raw(value.data);
    if (sample === 0) {
      this.value = { type: value.type, dims: [...value.dims] };
      this.stacked = value.type.startsWith("float") && value.dims.length > 0;
      this.bytes = this.stacked ? new Uint8Array(bytes.length * samples) : bytes.slice();
      this.size = bytes.length;
    } else if (!equal(this.value.dims, value.dims) || (!this.stacked && !equal(this.bytes, bytes))) {
      throw new Error(`the value ${name} has another size, or other integers, for each sample; use the command line to repair such models`);
    }
    if (this.stacked) this.bytes.set(bytes, sample * this.size);
  }

  result(samples) {
    const { type, dims } = this.value;
    return { type, dims: this.stacked ? [dims[0] * samples, ...dims.slice(1)] : dims, data: this.bytes, stacked: this.stacked };
  }
}

/** Makes the function run of a runtime's module from onnxruntime-web, or from onnxruntime-node. */
export function runSamples(ort) {
  return async function run(file, feeds, samples) {
    const session = await ort.InferenceSession.create(file, { graphOptimizationLevel: "basic", logSeverityLevel: 3 });
    try {
      const stacks = session.outputNames.map(() => new Stack());
      for (let i = 0; i < samples; i++) {
        const out = await session.run(feed(ort, feeds, i, samples));
        session.outputNames.forEach((name, k) => stacks[k].add(out[name], name, i, samples));
        for (const value of Object.values(out)) value.dispose();
      }
      return stacks.map((s) => s.result(samples));
    } finally {
      await session.release();
    }
  };
}
