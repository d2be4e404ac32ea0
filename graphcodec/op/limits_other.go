//go:build !js

package op

// maxLabels bounds the positions of all axes that are followed: a chain of concatenations can ask
// for the square of its length.
const maxLabels = 1 << 26
