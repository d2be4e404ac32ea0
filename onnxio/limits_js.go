package onnxio

// smaller is by how many powers of two limits are lower here: WebAssembly has less memory than a machine.
const smaller = 3
