package queue

import (
	"github.com/culvertmq/culvert/internal/lineage"
	"github.com/culvertmq/culvert/internal/postgres"
	"github.com/culvertmq/culvert/queue/log"
	"github.com/culvertmq/culvert/queue/registry"
	"github.com/culvertmq/culvert/queue/tail"
)

// source is what subscriptions and history read from.
type source struct {
	db       *postgres.Pools
	lineage  *lineage.Keeper
	tail     *tail.Tail
	log      *log.Log
	registry *registry.Registry
	presence *presence
	idle     *idle
}
