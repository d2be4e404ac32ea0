//go:build !js

package onnxio

// smaller is by how many powers of two limits are lower here than on a machine.
const smaller = 0
