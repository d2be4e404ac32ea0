package cli

import (
	"fmt"
	"strings"

	"github.com/metaprune/metaprune/native/models"
	"github.com/spf13/cobra"
)

// newReport is what new prints with --json.
type newReport struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
}

func (a *app) newCommand() *cobra.Command {
	var o models.Options
	var input, out string
	var force bool
	c := &cobra.Command{
		Use:   "new NETWORK",
		Short: "Write a network with initialised weights as an ONNX model",
		Long:  "Networks: " + strings.Join(models.Names(), ", ") + ".",
		Example: `  metaprune new resnet20 --input 1x28x28 --classes 10
  metaprune new vgg16 --input 3x32x32 --classes 100 --width 0.5 -o small-vgg.onnx
  metaprune new resnet20 --widths 12,24,48`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := unusedIn(c).unless(len(o.Widths) == 0, "no --widths, which says all widths", "width").err; err != nil {
				return err
			}
			var err error
			if o.Input, err = threeInts(input); err != nil {
				return fmt.Errorf("--input %w", err)
			}
			if out == "" {
				out = strings.ToLower(args[0]) + ".onnx"
				if err := unwritten(out, force); err != nil {
					return err
				}
			}
			files := a.claims()
			files.writes(out, "the model")
			if err := files.check(); err != nil {
				return err
			}
			m, err := models.New(args[0], o)
			if err != nil {
				return err
			}
			if err := a.write(out, m, false, false); err != nil {
				return err
			}
			if a.json {
				return a.beside(out).printJSON(newReport{out, m.EncodedSize()})
			}
			if toStdout(out) || a.quiet {
				return nil
			}
			_, err = fmt.Fprintf(a.out, "wrote %s (%sB)\n", out, count(m.EncodedSize()))
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&input, "input", "3x32x32", "channels, height and width of the input")
	f.IntVar(&o.Classes, "classes", 10, "number of outputs")
	f.Float64Var(&o.Width, "width", 1, "factor for all widths")
	f.IntSliceVar(&o.Widths, "widths", nil, "widths of the stages instead")
	f.Uint64Var(&o.Seed, "seed", 0, "seed of the weights")
	f.BoolVar(&force, "force", false, "overwrite the default output NETWORK.onnx")
	f.StringVarP(&out, "output", "o", "", "file to write, - for standard output (default NETWORK.onnx)")
	takes(f, whole(1, 0), "classes", "widths")
	takes(f, positive(), "width")
	return c
}
