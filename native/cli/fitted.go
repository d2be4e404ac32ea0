package cli

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
)

// Columns are not made narrower than this.
const (
	leastName = 12 // of names, which are cut in the middle
	leastText = 20 // of sentences, which are wrapped
)

// width is how wide tables may be: as the terminal, or as COLUMNS says there; 0 for any, where standard output is no terminal.
func (a *app) width() int {
	if a.columns > 0 {
		return a.columns
	}
	f, ok := a.out.(*os.File)
	if !ok || !isTerminal(f) {
		return 0
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return n
}

// fittedTable shows texts as plain does, and cuts long names in the middle where the terminal is too narrow.
type fittedTable struct {
	table.Writer
	width   int // 0 for any
	header  table.Row
	rows    []table.Row
	columns []table.ColumnConfig
}

// AppendRow adds a row.
func (t *fittedTable) AppendRow(row table.Row, _ ...table.RowConfig) {
	shown := make(table.Row, len(row))
	for i, cell := range row {
		if s, ok := cell.(string); ok {
			cell = plain(s)
		}
		shown[i] = cell
	}
	t.rows = append(t.rows, shown)
}

// AppendRows adds rows.
func (t *fittedTable) AppendRows(rows []table.Row, _ ...table.RowConfig) {
	for _, r := range rows {
		t.AppendRow(r)
	}
}

// SetColumnConfigs says how columns look.
func (t *fittedTable) SetColumnConfigs(columns []table.ColumnConfig) { t.columns = columns }

// Render writes the table.
func (t *fittedTable) Render() string {
	if t.width > 0 {
		t.fit()
	}
	t.Writer.SetColumnConfigs(t.columns)
	t.Writer.AppendHeader(t.header)
	t.Writer.AppendRows(t.rows)
	return t.Writer.Render()
}

// column returns what is said of a column.
func (t *fittedTable) column(i int) *table.ColumnConfig {
	for k := range t.columns {
		if t.columns[k].Number == i+1 {
			return &t.columns[k]
		}
	}
	return nil
}

// fit makes columns narrower, the widest first, until the table fits or nothing more can be taken.
func (t *fittedTable) fit() {
	widths, least := make([]int, len(t.header)), make([]int, len(t.header))
	total := 1
	for i := range widths {
		for _, row := range append([]table.Row{t.header}, t.rows...) {
			if i < len(row) {
				widths[i] = max(widths[i], text.LongestLineLen(fmt.Sprint(row[i])))
			}
		}
		c := t.column(i)
		switch {
		case c != nil && c.WidthMax > 0:
			widths[i], least[i] = min(widths[i], c.WidthMax), leastText
		case c != nil && c.Align == text.AlignRight:
			least[i] = widths[i] // numbers stay whole
		default:
			least[i] = max(leastName, utf8.RuneCountInString(fmt.Sprint(t.header[i])))
		}
		total += widths[i] + 3
	}
	for ; total > t.width; total-- {
		widest := -1
		for i, w := range widths {
			if w > least[i] && (widest < 0 || w > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	for i, w := range widths {
		t.narrow(i, w)
	}
}

// narrow brings a column to a width: sentences are wrapped, names cut.
func (t *fittedTable) narrow(i, width int) {
	if c := t.column(i); c != nil && c.WidthMax > 0 {
		c.WidthMax = width
		return
	}
	for _, row := range t.rows {
		if i < len(row) {
			if s, ok := row[i].(string); ok {
				row[i] = middleCut(s, width)
			}
		}
	}
}

// middleCut leaves out the middle of what is longer than so many letters.
func middleCut(s string, most int) string {
	if strings.Contains(s, "\n") || utf8.RuneCountInString(s) <= most || most < 3 {
		return s
	}
	r := []rune(s)
	front := (most - 1) / 2
	return string(r[:front]) + "…" + string(r[len(r)-(most-1-front):])
}
