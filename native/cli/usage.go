package cli

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/metaprune/metaprune/prune/planner"
	"github.com/metaprune/metaprune/prune/search"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// finish gives a command and those below it the errors of this program: they name what was meant.
func finish(c *cobra.Command) {
	c.SetFlagErrorFunc(flagError)
	if args := c.Args; args != nil {
		c.Args = func(c *cobra.Command, given []string) error {
			if err := args(c, given); err != nil {
				return argumentError(c, given)
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		finish(sub)
	}
	if c.HasSubCommands() && !c.Runnable() {
		c.Args, c.DisableFlagsInUseLine = cobra.ArbitraryArgs, true
		c.RunE = func(c *cobra.Command, given []string) error {
			if len(given) == 0 {
				return c.Help()
			}
			return unknownCommand(c, given[0])
		}
	}
}

// requiredFlags names the flags that a command cannot do without.
func requiredFlags(c *cobra.Command, _ []string) error {
	var err error
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if required := f.Annotations[cobra.BashCompOneRequiredFlag]; len(required) > 0 && required[0] == "true" && !f.Changed && err == nil {
			err = &usageError{"--" + f.Name, f.Usage, "nothing", fmt.Sprintf("--%s is missing: %s", f.Name, f.Usage)}
		}
	})
	return err
}

// argumentError says what arguments a command takes.
func argumentError(c *cobra.Command, given []string) error {
	_, want, _ := strings.Cut(c.Use, " ")
	if want == "" {
		want = "no arguments"
	}
	got := strings.Join(given, " ")
	name := strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ")
	text := fmt.Sprintf("%s: want %s, got %q", name, want, got)
	if len(given) == 0 {
		got, text = "nothing", fmt.Sprintf("%s: want %s, got nothing", name, want)
	}
	return &usageError{c.CommandPath(), want, got, text + "; " + c.CommandPath() + " --help says more"}
}

func unknownCommand(c *cobra.Command, name string) error {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	text := fmt.Sprintf("unknown command %q for %q", name, c.CommandPath())
	if near := planner.Nearest(name, names); near != "" {
		text += "; did you mean " + near + "?"
	} else {
		text += "; " + c.CommandPath() + " --help lists the commands"
	}
	return &usageError{c.CommandPath(), planner.Listed(names), name, text}
}

// flagError says which flag is wrong and what it takes.
func flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var bad *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	var syntax *pflag.InvalidSyntaxError
	switch {
	case errors.As(err, &unknown):
		return unknownFlag(c, unknown)
	case errors.As(err, &bad):
		f := bad.GetFlag()
		var option *planner.OptionError
		if errors.As(bad.Unwrap(), &option) {
			return &planner.OptionError{Where: "--" + f.Name, Want: option.Want, Got: option.Got, Near: option.Near}
		}
		return &planner.OptionError{Where: "--" + f.Name, Want: wantOf(f, bad.Unwrap()), Got: bad.GetValue()}
	case errors.As(err, &missing):
		f := missing.GetFlag()
		want := wantOf(f, nil)
		return &usageError{"--" + f.Name, want, "nothing", fmt.Sprintf("--%s: want %s, got nothing", f.Name, want)}
	case errors.As(err, &syntax):
		return &usageError{syntax.GetSpecifiedFlag(), "a flag such as --json", syntax.GetSpecifiedFlag(), fmt.Sprintf("%q is no flag", syntax.GetSpecifiedFlag())}
	}
	return err
}

// asFlag gives a library's error about an option, which names the option, the spelling of its flag.
func asFlag(err error, name string) error {
	var option *planner.OptionError
	var failed *search.FailedError
	switch {
	case errors.As(err, &failed) && failed.Option == name:
		own := *failed
		own.Option = "--" + name
		return failedCheck{&own}
	case errors.As(err, &option) && option.Where == name:
		own := *option
		own.Where = "--" + name
		return &own
	}
	return err
}

// optionName is how libraries name an option in a sentence, with or without its value.
var optionName = regexp.MustCompile(`\boption "([a-z][^"]*)"`)

// withFlags gives the options in a library's sentence the spelling of flags: option "repair noise" becomes --repair noise.
func withFlags(s string) string { return optionName.ReplaceAllString(s, "--$1") }

func unknownFlag(c *cobra.Command, e *pflag.NotExistError) error {
	given, want := "--"+e.GetSpecifiedName(), "a flag of "+c.CommandPath()
	if e.GetSpecifiedShortnames() != "" {
		given = "-" + e.GetSpecifiedShortnames()
		return &usageError{given, want, given, fmt.Sprintf("unknown flag -%.1s in %s; %s --help lists the flags", e.GetSpecifiedName(), given, c.CommandPath())}
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	text := "unknown flag " + given
	if near := planner.Nearest(e.GetSpecifiedName(), names); near != "" {
		text += "; did you mean --" + near + "?"
	} else {
		text += "; " + c.CommandPath() + " --help lists the flags"
	}
	return &usageError{given, want, given, text}
}

// wantOf says what a flag takes: in the words of its own value where that is of this program, else by its type.
func wantOf(f *pflag.Flag, cause error) string {
	if w, ok := f.Value.(interface{ Wants() string }); ok {
		return w.Wants()
	}
	switch f.Value.Type() {
	case "int", "int64":
		return "a whole number"
	case "uint64":
		return "a whole number from 0 on"
	case "float64":
		return "a number"
	case "bool":
		return "true or false"
	case "duration":
		return "a time such as 30s or 5m"
	case "intSlice", "int64Slice":
		return "whole numbers with commas between them"
	case "float64Slice":
		return "numbers with commas between them"
	case "string":
		return "a value"
	}
	if cause != nil {
		return cause.Error()
	}
	return "a value"
}
