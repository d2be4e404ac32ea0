package cli

import (
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/metaprune/metaprune/native/engine/ort"
	"github.com/metaprune/metaprune/native/engines"
	"github.com/spf13/cobra"
)

func (a *app) doctorCommand() *cobra.Command {
	var install string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Try the backends that run and train models",
		Long:  "Try ONNX Runtime with a matrix product, and each other backend with a matrix product, a convolution and a gradient. Print what is missing and how to install it.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if install != "" {
				if _, err := ort.Install(c.Context(), c.ErrOrStderr()); err != nil {
					return err
				}
			}
			found := engines.Doctor(c.Context())
			if a.json {
				return a.printJSON(found)
			}
			t := a.table("backend", "works", "matrix product", "")
			t.SetColumnConfigs([]table.ColumnConfig{{Number: 4, WidthMax: 90}})
			for _, d := range found {
				works, speed := "no", ""
				if d.Works {
					works, speed = "yes", fmt.Sprintf("%.0f GFLOP/s", d.GFLOPS)
				}
				t.AppendRow(table.Row{d.Backend, works, speed, d.Detail})
			}
			t.Render()
			for _, d := range found {
				if d.Works {
					_, err := fmt.Fprintf(a.out, "\nWithout --backend, commands use %s.\n", d.Backend)
					return err
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&install, "install", "", "ort: first fetch ONNX Runtime with pip, else with npm, into the user's cache folder, and load it")
	oneOf(c.Flags(), "install", "ort")
	return c
}
