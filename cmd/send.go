package cmd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	culvert "github.com/culvertmq/culvert/clients/go"
)

// sender stores chunks of lines, one request each, in order.
type sender struct {
	client   *culvert.Client
	progress *progress

	began                      time.Time
	stored, duplicates, failed int
}

// sendAll sends until the input ends. It returns an error if sending stopped before; refused lines are only
// counted and reported.
func (s *sender) sendAll(ctx context.Context, chunks <-chan chunk) error {
	s.began = time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c, ok := <-chunks:
			if !ok {
				return ctx.Err()
			}
			for _, f := range c.faults {
				s.fail(f.number, f.text)
			}
			if err := s.send(ctx, c.lines); err != nil {
				return err
			}
			s.progress.add(c.read, len(c.lines)+len(c.faults))
			if errors.Is(c.err, io.EOF) {
				return nil
			}
			if c.err != nil {
				return fmt.Errorf("read: %w", c.err)
			}
		}
	}
}

// send stores the lines of one chunk. If the answer broke off or the server was overloaded, it sends the lines
// without an answer again: their keys prevent that a line is stored twice.
func (s *sender) send(ctx context.Context, lines []line) error {
	if len(lines) == 0 {
		return nil
	}
	err := s.client.Retry(ctx, func() error {
		var err error
		lines, err = s.attempt(ctx, lines)
		return err
	})
	if err != nil {
		return fmt.Errorf("stopped at line %d: %w", lines[0].number, err)
	}
	return nil
}

// attempt sends lines once. It returns those that must be sent again, and the reason.
func (s *sender) attempt(ctx context.Context, lines []line) ([]line, error) {
	var body bytes.Buffer
	for _, l := range lines {
		body.Write(l.body)
		body.WriteByte('\n')
	}
	resp, err := s.client.Do(ctx, culvert.Request{
		Method: http.MethodPost, Path: "/emit", Type: "application/x-ndjson", Body: body.Bytes(),
	})
	if err != nil {
		return lines, err
	}
	defer resp.Body.Close()
	results := json.NewDecoder(bufio.NewReader(resp.Body))
	var again []line
	var reason error
	for i, l := range lines {
		var r result
		if err := results.Decode(&r); err != nil {
			if reason == nil { // else the server said why before it ended the answer
				reason = fmt.Errorf("the answer broke off after %d of %d lines: %w", i, len(lines), err)
			}
			return append(again, lines[i:]...), reason
		}
		if err := s.count(l, r); err != nil {
			again, reason = append(again, l), err
		}
	}
	_, _ = io.Copy(io.Discard, resp.Body) // read to the end, so that the connection can be reused
	return again, reason
}

// result is the answer to one line: an offset or a problem.
type result struct {
	Duplicate       bool `json:"duplicate"`
	culvert.Problem      // its Status is 0 for a success
}

// count counts a line as stored or failed. An error means that it was not stored, for a reason that holds for
// the lines after it, too.
func (s *sender) count(l line, r result) error {
	if r.Status < http.StatusBadRequest {
		s.stored++
		if r.Duplicate {
			s.duplicates++
		}
		return nil
	}
	if r.Temporary() || r.Status == http.StatusUnauthorized { // the token has expired, so the answer ends here
		return &r.Problem
	}
	s.fail(l.number, printable(r.Said()))
	return nil
}

// fail reports a line that was refused.
func (s *sender) fail(number int, text string) {
	s.failed++
	s.progress.say("line %d: %s", number, text)
}

// summary returns how many events were stored, and how fast.
func (s *sender) summary() string {
	took := time.Since(s.began)
	text := fmt.Sprintf("%d events in %.2f s, %.0f events/s", s.stored, took.Seconds(), float64(s.stored)/max(took.Seconds(), 1e-9))
	if s.duplicates > 0 {
		text += fmt.Sprintf(", %d of them had been stored before", s.duplicates)
	}
	if s.failed > 0 {
		text += fmt.Sprintf(", %d lines failed", s.failed)
	}
	return text
}
