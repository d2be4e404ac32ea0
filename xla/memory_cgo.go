//go:build cgo && linux

package xla

/*
#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
static void release(void) { malloc_trim(0); }
#else
static void release(void) {}
#endif
*/
import "C"

// ReleaseMemory gives memory that a backend outside of Go's heap has freed back to the system, where its allocator (glibc) keeps it otherwise. What is allocated next has to be
// mapped again; so call it where much was freed, not at every step.
func ReleaseMemory() { C.release() }
