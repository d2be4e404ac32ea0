package metatrain

import (
	"slices"

	"github.com/metaprune/metaprune/native/train"
)

// RunFiles lists what a run of meta-training writes to its folder.
func RunFiles() []string {
	return []string{"config.json", "metrics.jsonl", "metanet.safetensors", checkpointName, bestName}
}

// PipelineFile reports whether a pipeline or a job of data models writes files of that name to its folder or to the folders in it.
func PipelineFile(base string) bool {
	return slices.Contains(append(train.Files(), "pipeline.json", "stage.json", "job.json"), base)
}
