package experiment

import "math"

// Mean is a point's mean over the seeds, with the standard deviation of its accuracy.
type Mean struct {
	Point
	Seeds  int
	Spread float64
}

// Average gathers the seeds of each model, criterion and target, in the order in which they come.
func Average(points []Point) []Mean {
	type key struct {
		model, criterion string
		wanted           float64
	}
	by := map[key][]Point{}
	var order []key
	for _, p := range points {
		k := key{p.Model, p.Criterion, p.Wanted}
		if by[k] == nil {
			order = append(order, k)
		}
		by[k] = append(by[k], p)
	}
	var out []Mean
	for _, k := range order {
		a := Mean{Point: by[k][0], Seeds: len(by[k])}
		n := float64(a.Seeds)
		a.SpeedUp, a.Accuracy, a.Loss = 0, 0, 0
		for _, p := range by[k] {
			a.SpeedUp += p.SpeedUp / n
			a.Accuracy += p.Accuracy / n
			a.Loss += p.Loss / n
		}
		for _, p := range by[k] {
			a.Spread += (p.Accuracy - a.Accuracy) * (p.Accuracy - a.Accuracy) / n
		}
		a.Spread = math.Sqrt(a.Spread)
		out = append(out, a)
	}
	return out
}
