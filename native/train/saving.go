package train

import "context"

type savingKey struct{}

// WithSaving returns a context whose runs call saving before they write a checkpoint, and its result afterwards, so that a program that is told to end can wait for it.
func WithSaving(ctx context.Context, saving func() (done func())) context.Context {
	return context.WithValue(ctx, savingKey{}, saving)
}

// Saving begins the writing of a checkpoint; the result ends it.
func Saving(ctx context.Context) (done func()) {
	if saving, ok := ctx.Value(savingKey{}).(func() func()); ok {
		return saving()
	}
	return func() {}
}
