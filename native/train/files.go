package train

// Files lists what a run writes to its folder.
func Files() []string {
	return []string{"config.json", checkpointName, "metrics.jsonl", "best.onnx", "model.onnx", "curves.svg", "result.json", "report.html"}
}
