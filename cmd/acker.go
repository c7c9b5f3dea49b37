package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	ackPatience  = time.Minute     // then the server is gone for more than a restart
	flushAtClose = 3 * time.Second // what a person waits after Ctrl-C
)

// acker acknowledges in the background: while one call is under way only the
// newest cursor waits, as acknowledgements are cumulative.
type acker struct {
	client  *client
	pending chan string
	done    chan error
	cancel  context.CancelFunc
}

// startAcker starts the goroutine that close ends. When the server refuses an
// acknowledgement, it calls stop, and close returns the reason.
func startAcker(ctx context.Context, cl *client, stop context.CancelFunc) *acker {
	ctx, cancel := context.WithCancel(ctx)
	a := &acker{cl, make(chan string, 1), make(chan error, 1), cancel}
	go func() {
		err := a.run(ctx)
		a.done <- err
		if err != nil {
			stop()
		}
	}()
	return a
}

// offer has a cursor acknowledged. Only one goroutine offers.
func (a *acker) offer(cursor string) {
	select {
	case <-a.pending: // overtaken before it was sent
	default:
	}
	a.pending <- cursor
}

func (a *acker) run(ctx context.Context) error {
	for cursor := range a.pending {
		body, err := json.Marshal(map[string]string{"cursor": cursor})
		if err != nil {
			return err
		}
		err = a.client.retry(ctx, ackPatience, func() error {
			_, err := a.client.postJSON(ctx, "/ack", body)
			return err
		})
		var status *statusError
		if errors.As(err, &status) && status.code == http.StatusConflict {
			// The log was replaced between the event and now; there is nothing to move.
			a.client.warn("%s was not acknowledged: %v", cursor, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("acknowledge %s: %w", cursor, err)
		}
	}
	return nil
}

// close sends what is left and ends the goroutine.
func (a *acker) close() error {
	close(a.pending)
	hurry := time.AfterFunc(flushAtClose, a.cancel)
	defer hurry.Stop()
	defer a.cancel()
	return <-a.done
}
