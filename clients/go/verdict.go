package culvert

import (
	"sync"
	"time"
)

// verdict is what was found out about the way to one server. The zero verdict is
// that nothing is wrong with it.
type verdict struct {
	transport     Transport
	wait          time.Duration // a long poll may last so long; 0: not at all
	life          time.Duration // a stream may last so long; 0: as long as it likes
	retryStreamAt time.Time     // when to doubt it
	round         int           // how often that was in vain
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
