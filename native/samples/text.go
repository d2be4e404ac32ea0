package samples

import "github.com/metaprune/metaprune/prune/calib"

func (o Options) text(path string) (*Samples, error) {
	return nil, &calib.SampleError{File: path, Want: "arrays", Got: "text", Do: "give the tokens as an NPZ file"}
}
