package bench

import (
	"context"
	"fmt"
	"sync/atomic"
)

// instances measures emits that several server processes on one database take at the same time.
func (b *bench) instances(ctx context.Context, r *rig, _ []instance) error {
	var posters []*poster
	defer func() {
		for _, p := range posters {
			p.close()
		}
	}()
	var alone float64
	for _, n := range []int{1, 2, 4} {
		for len(posters) < n {
			server, err := r.server(ctx)
			if err != nil {
				return err
			}
			posters = append(posters, newPoster(server.url+"/v1/default/emit", oneEvent, b.callers))
		}
		var turn atomic.Int64
		emits, err := rate(ctx, b.callers, b.duration, func(ctx context.Context) (int, error) {
			return 1, posters[int(turn.Add(1))%n].post(ctx)
		})
		if err != nil {
			return err
		}
		if n == 1 {
			alone = emits
			continue
		}
		b.compare(fmt.Sprintf("durable emits over %d instances, compared with one", n), emits, alone, "100 %")
	}
	return nil
}
