package culvert

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// scenarioFile says what both ladders must do; the file explains itself.
const scenarioFile = "../../testdata/ladder.json"

type scenarios struct {
	About       []string
	Transitions map[string][]string
	Scenarios   []*scenario
}

type scenario struct {
	Name, Why, Only string
	Settings        struct {
		Forced Transport
		Known  *scenarioVerdict
	}
	Steps []scenarioStep
}

type scenarioStep struct {
	Event                 string
	After                 float64
	Age                   *float64
	Settle, RetryAfter    float64
	Events, More, Gateway bool
	Moved                 bool
	To                    string // of force, which this ladder does not have
	Then                  scenarioThen
}

type scenarioThen struct {
	State                 state
	Transport             Transport
	Wait, Delay, Patience *float64
	Limit                 *int
	Up                    *bool
	Saved                 json.RawMessage // null: forgotten; absent: nothing was saved
}

type scenarioVerdict struct {
	Transport                 Transport
	Wait, Life, RetryStreamAt float64
	Round                     int
}

func readScenarios(t *testing.T) (all scenarios) {
	t.Helper()
	text, err := os.ReadFile(scenarioFile)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestLadderScenarios runs the scenarios that the ladders of both languages must pass.
func TestLadderScenarios(t *testing.T) {
	all := readScenarios(t)
	happened, endings := map[string]bool{}, constantsInSource(t, "endKind")
	for _, s := range all.Scenarios {
		if s.Name == "" || s.Why == "" || len(s.Steps) == 0 {
			t.Errorf("scenario %q needs a name, a why and steps", s.Name)
		}
		if s.Only != "" && s.Only != "go" {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newScenarioRun(t, s, endings, happened).run() })
		})
	}
	t.Run("every event and state occurs", func(t *testing.T) {
		for _, name := range append(eventsInSource(t), constantsInSource(t, "state")...) {
			if !happened[name] {
				t.Errorf("no scenario has %q", name)
			}
		}
	})
	t.Run("every transition is listed and occurs", func(t *testing.T) {
		var seen []string
		for name := range happened {
			if strings.Contains(name, " -> ") {
				seen = append(seen, name)
			}
		}
		want := slices.Concat(all.Transitions["both"], all.Transitions["go"])
		slices.Sort(want)
		slices.Sort(seen)
		if !slices.Equal(seen, want) {
			t.Errorf("the scenarios show the transitions\n%q, and %s lists\n%q", seen, scenarioFile, want)
		}
	})
}

// scenarioRun is a scenario that is being played.
type scenarioRun struct {
	*ladder
	t        *testing.T
	scenario *scenario
	start    time.Time
	saved    *verdict // in this step
	endings  []string // the names of all endings
	happened map[string]bool
}

func newScenarioRun(t *testing.T, s *scenario, endings []string, happened map[string]bool) *scenarioRun {
	r := &scenarioRun{t: t, scenario: s, start: time.Now(), endings: endings, happened: happened}
	var known verdict
	if s.Settings.Known != nil {
		known = s.Settings.Known.at(r.start)
	}
	half := func() float64 { return 0.5 }
	r.ladder = newLadder(time.Now, half, known, func(v verdict) { r.saved = &v }, s.Settings.Forced)
	return r
}

func (v scenarioVerdict) at(start time.Time) verdict {
	return verdict{v.Transport, ofSeconds(v.Wait), ofSeconds(v.Life), start.Add(ofSeconds(v.RetryStreamAt)), v.Round}
}

func ofSeconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond)
}

func (r *scenarioRun) run() {
	r.t.Log(r.scenario.Why)
	for i, step := range r.scenario.Steps {
		before := r.state
		r.saved = nil
		err := r.happens(step)
		if err == nil {
			err = r.check(step)
		}
		if err != nil {
			r.t.Fatalf("step %d, %s: %v", i+1, step.Event, err)
		}
		r.happened[step.Event], r.happened[string(r.state)] = true, true
		if before != r.state {
			r.happened[fmt.Sprintf("%s -> %s", before, r.state)] = true
		}
	}
}

// scenarioEvents are the calls that tell a ladder what happened, except for endings.
var scenarioEvents = map[string]func(r *scenarioRun, s scenarioStep){
	"begin":      func(r *scenarioRun, _ scenarioStep) { r.begin() },
	"gotHeaders": func(r *scenarioRun, _ scenarioStep) { r.gotHeaders() },
	"stalled":    func(r *scenarioRun, _ scenarioStep) { r.stalled() },
	"wake":       func(r *scenarioRun, s scenarioStep) { r.wake(s.Moved) },
	"frame":      func(r *scenarioRun, _ scenarioStep) { r.frame(time.Time{}) },
	"heartbeat":  func(r *scenarioRun, s scenarioStep) { r.frame(s.sent()) },
	"hello": func(r *scenarioRun, s scenarioStep) {
		g := greeting{heartbeat: beat, retry: 2 * time.Second, settle: ofSeconds(s.Settle)}
		if s.Age != nil {
			g.at = s.sent()
		}
		r.hello(g)
	},
}

// sent returns when a frame that arrives now was sent.
func (s scenarioStep) sent() time.Time {
	if s.Age == nil {
		return time.Now()
	}
	return time.Now().Add(-ofSeconds(*s.Age))
}

// happens waits until the time of a step, and makes its event happen.
func (r *scenarioRun) happens(s scenarioStep) error {
	if s.Event == "begin" {
		time.Sleep(r.delay)
	}
	time.Sleep(ofSeconds(s.After))
	if left := r.left(); s.Event == string(endTimedOut) && left != 0 {
		return fmt.Errorf("the attempt is given up in %v", left)
	} else if !r.deadline.IsZero() && left < 0 {
		return fmt.Errorf("the attempt was given up %v ago", -left)
	}
	if call := scenarioEvents[s.Event]; call != nil {
		call(r, s)
		return nil
	}
	if !slices.Contains(r.endings, s.Event) {
		return fmt.Errorf("there is no such event")
	}
	if s.Event == string(endPage) {
		r.gotHeaders()
	}
	r.end(ending{
		kind: endKind(s.Event), after: ofSeconds(s.RetryAfter), empty: !s.Events, more: s.More, gateway: s.Gateway,
	})
	if s.Then.Delay == nil {
		return fmt.Errorf("an attempt that ends needs a delay")
	}
	return nil
}

// check compares the ladder with what it must do.
func (r *scenarioRun) check(s scenarioStep) error {
	want := s.Then
	if r.state != want.State {
		return fmt.Errorf("the state is %s, want %s", r.state, want.State)
	}
	if s.Event == "begin" && (r.plan.transport != want.Transport || want.Transport == Poll && want.Wait == nil) {
		return fmt.Errorf("the attempt is %+v, want %s, and for a poll the time it is held", r.plan, want.Transport)
	}
	for name, times := range map[string]struct {
		got  time.Duration
		want *float64
	}{
		"wait":     {r.plan.wait, want.Wait},
		"delay":    {r.delay, want.Delay},
		"patience": {r.left(), want.Patience},
	} {
		if times.want != nil && times.got.Round(time.Millisecond) != ofSeconds(*times.want) {
			return fmt.Errorf("%s is %v, want %v", name, times.got, ofSeconds(*times.want))
		}
	}
	if want.Limit != nil && r.plan.limit != *want.Limit {
		return fmt.Errorf("the limit is %d, want %d", r.plan.limit, *want.Limit)
	}
	if want.Up != nil && r.up != *want.Up {
		return fmt.Errorf("up is %v, want %v", r.up, *want.Up)
	}
	return r.checkSaved(want.Saved)
}

func (r *scenarioRun) checkSaved(text json.RawMessage) error {
	if text == nil || r.saved == nil {
		if text != nil || r.saved != nil {
			return fmt.Errorf("the ladder saved %+v, want %s", r.saved, text)
		}
		return nil
	}
	var want *scenarioVerdict
	if err := json.Unmarshal(text, &want); err != nil {
		return err
	}
	var expected verdict
	if want != nil {
		expected = want.at(r.start)
	}
	got := *r.saved
	if difference := got.retryStreamAt.Sub(expected.retryStreamAt); difference.Abs() > time.Millisecond {
		return fmt.Errorf("the ladder saved %+v: the stream is tried again %v later than it should be", got, difference)
	}
	if got.retryStreamAt = expected.retryStreamAt; got != expected {
		return fmt.Errorf("the ladder saved %+v, want %+v", got, expected)
	}
	return nil
}

// constantsInSource returns the values of all constants of a type of this package. They are
// read from its source, so that a new constant cannot be forgotten.
func constantsInSource(t *testing.T, kind string) []string {
	return findInSource(t, `(?m)^\t\w+ +`+kind+` += "(\w+)"`)
}

// eventsInSource returns all events: the calls that the package makes to its ladder, without
// those that only ask, and the endings, without endRefused, of which the ladder is not told.
func eventsInSource(t *testing.T) []string {
	events := append(findInSource(t, `\.ladder\.(\w+)\(`), constantsInSource(t, "endKind")...)
	events = append(events, "heartbeat") // a frame with the time when it was sent
	return slices.DeleteFunc(events, func(name string) bool {
		return slices.Contains([]string{"left", "spent", "batched", "end", string(endRefused)}, name)
	})
}

func findInSource(t *testing.T, pattern string) (found []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if matched, _ := filepath.Match("*_test.go", name); matched {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
			found = append(found, string(match[1]))
		}
	}
	if len(found) == 0 {
		t.Fatalf("nothing in the source is like %s", pattern)
	}
	slices.Sort(found)
	return slices.Compact(found)
}
