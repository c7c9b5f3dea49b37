package cmd

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// sameSignal is how long after a signal another one is taken for the same: whoever stops
// a whole process group often tells each process of it as well, as make does.
const sameSignal = time.Second

// UntilSignal returns a context that ends with SIGTERM or Ctrl-C. From a second later
// on, another signal ends the process at once.
func UntilSignal(parent context.Context) context.Context {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		time.Sleep(sameSignal)
		signal.Stop(signals)
	}()
	return ctx
}
