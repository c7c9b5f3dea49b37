package culvert

import (
	"sync"
	"time"
)

// verdict is what was found out about the transports to one server. The zero verdict means
// that streams work.
type verdict struct {
	transport     Transport
	wait          time.Duration // how long a poll may be held; 0: not at all
	life          time.Duration // how long a stream may last; 0: without a limit
	retryStreamAt time.Time     // when to try the stream again
	round         int           // how often that failed
}

// verdicts keeps them for all clients of the program, by origin.
var verdicts = struct {
	sync.Mutex
	of map[string]verdict
}{of: map[string]verdict{}}

func loadVerdict(origin string) verdict {
	verdicts.Lock()
	defer verdicts.Unlock()
	return verdicts.of[origin]
}

func saveVerdict(origin string, v verdict) {
	verdicts.Lock()
	defer verdicts.Unlock()
	if v == (verdict{}) {
		delete(verdicts.of, origin)
		return
	}
	verdicts.of[origin] = v
}
