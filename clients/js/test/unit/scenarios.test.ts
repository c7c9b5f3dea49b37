// What the ladders of both languages must do: testdata/ladder.json, which explains itself.
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Kind, State, type Ladder, type Plan } from '../../src/attempt.js'
import { createLadder } from '../../src/ladder.js'
import type { Transport } from '../../src/types.js'
import type { Verdict } from '../../src/verdict.js'
import { FakeClock } from './fakes.js'
import { beat } from './rig.js'

interface Remembered { transport: Transport, wait: number, life?: number, retryStreamAt: number, round: number }

interface Then {
  state: string
  transport?: Transport
  wait?: number
  limit?: number
  delay?: number
  patience?: number
  up?: boolean
  saved?: Remembered | null
}

interface Step {
  event: string
  after?: number
  age?: number
  settle?: number
  retryAfter?: number
  events?: boolean
  more?: boolean
  gateway?: boolean
  moved?: boolean
  to?: 'auto' | Transport
  then: Then
}

interface Scenario {
  name: string
  why: string
  only?: 'go' | 'ts'
  settings?: { forced?: Transport, known?: Remembered }
  steps: Step[]
}

// The compiler makes sure that these lists name every field, state, ending and call. A new one
// must be added here, and to a scenario.
type Names<T> = Record<keyof T, true>
const fields = {
  file: { about: true, transitions: true, scenarios: true },
  scenario: { name: true, why: true, only: true, settings: true, steps: true } satisfies Names<Required<Scenario>>,
  settings: { forced: true, known: true },
  remembered: { transport: true, wait: true, life: true, retryStreamAt: true, round: true } satisfies Names<Required<Remembered>>,
  step: {
    event: true, after: true, age: true, settle: true, retryAfter: true, events: true, more: true, gateway: true, moved: true, to: true, then: true,
  } satisfies Names<Required<Step>>,
  then: {
    state: true, transport: true, wait: true, limit: true, delay: true, patience: true, up: true, saved: true,
  } satisfies Names<Required<Then>>,
}

const states: Record<State, string> = {
  [State.Connecting]: 'connecting',
  [State.Streaming]: 'streaming',
  [State.Checking]: 'checking',
  [State.Probing]: 'probing',
  [State.Polling]: 'polling',
  [State.Trying]: 'trying',
}

const endings: Record<Kind, string> = {
  [Kind.Page]: 'page',
  [Kind.ComeBack]: 'comeBack',
  [Kind.Closed]: 'closed',
  [Kind.TimedOut]: 'timedOut',
  [Kind.Foreign]: 'foreign',
  [Kind.Busy]: 'busy',
  [Kind.Woken]: 'woken',
}

/** The calls that tell a ladder what happened, except for endings. */
type Call = Exclude<keyof Ladder, 'state' | 'deadline' | 'delay' | 'up' | 'stale' | 'end'> | 'heartbeat'

const calls: Record<Call, (r: Run, s: Step) => void> = {
  begin: (r) => (r.plan = r.ladder.begin()),
  gotHeaders: (r) => r.ladder.gotHeaders(),
  force: (r, { to }) => r.ladder.force(to === 'auto' ? undefined : to),
  wake: (r, { moved = false }) => r.ladder.wake(moved),
  frame: (r) => r.ladder.frame(),
  heartbeat: (r, { age = 0 }) => r.ladder.frame(r.clock.wall() - age * 1000),
  hello: (r, { settle = 0, age }) =>
    r.ladder.hello(beat, 2000, settle * 1000, age === undefined ? undefined : r.clock.wall() - age * 1000),
}

/** A scenario that is being run. */
class Run {
  clock = new FakeClock()
  start = this.clock.wall()
  saved: { verdict: Verdict | undefined } | undefined // in this step
  ladder: Ladder
  plan!: Plan

  constructor({ settings: { forced, known } = {} }: Scenario) {
    this.ladder = createLadder(this.clock, known && this.verdict(known), (verdict) => (this.saved = { verdict }), forced)
  }

  get state(): string {
    return states[this.ladder.state]
  }

  verdict({ life, retryStreamAt, ...rest }: Remembered): Verdict {
    return { ...rest, life: life ? life * 1000 : Infinity, retryStreamAt: Math.round(this.start + retryStreamAt * 1000) }
  }

  /** Waits until the time of a step, and makes its event happen. */
  happens(s: Step): void {
    const { ladder, clock } = this
    this.saved = undefined
    clock.go(s.event === 'begin' ? ladder.delay : (s.after ?? 0) * 1000)
    const left = ladder.deadline - clock.now()
    if (s.event === 'timedOut') near('time until the attempt is given up', left, 0)
    else if (!['begin', 'wake', 'force'].includes(s.event)) assert.ok(left > -1, `the attempt was given up ${-left} ms ago`)
    if (s.event in calls) return calls[s.event as Call](this, s)
    const kind = Object.entries(endings).find(([, name]) => name === s.event)?.[0]
    assert.ok(kind, 'there is no such event')
    assert.notEqual(s.then.delay, undefined, 'an attempt that ends needs a delay')
    if (s.event === 'page') ladder.gotHeaders()
    ladder.end({ kind: +kind, after: s.retryAfter!, empty: !s.events, more: s.more!, gateway: s.gateway! })
  }

  /** Compares the ladder with what it must do. */
  check({ event, then }: Step): void {
    const { ladder, plan, clock } = this
    assert.equal(this.state, then.state, 'state')
    if (event === 'begin') {
      assert.equal(plan.transport, then.transport, 'transport')
      assert.ok(plan.transport === 'stream' || then.wait !== undefined, 'a poll needs a wait')
    }
    if (then.wait !== undefined) assert.equal(plan.wait, then.wait, 'wait')
    if (then.limit !== undefined) assert.equal(plan.limit, then.limit, 'limit')
    if (then.up !== undefined) assert.equal(ladder.up, then.up, 'up')
    if (then.delay !== undefined) near('delay', ladder.delay, then.delay)
    if (then.patience !== undefined) near('patience', ladder.deadline - clock.now(), then.patience)
    assert.equal(!!this.saved, then.saved !== undefined, this.saved ? 'something is remembered' : 'nothing is remembered')
    if (!this.saved) return
    const { verdict } = this.saved
    const rounded = verdict && { ...verdict, life: Math.round(verdict.life!) || Infinity, retryStreamAt: Math.round(verdict.retryStreamAt) }
    assert.deepEqual(rounded, then.saved ? this.verdict(then.saved) : undefined, 'saved')
  }
}

function near(what: string, ms: number, seconds: number): void {
  assert.ok(Math.abs(ms - seconds * 1000) < 1, `${what}: ${ms / 1000} s instead of ${seconds} s`)
}

/** Fails on an unknown field, which would not be checked. */
function strict(what: keyof typeof fields, value: object | null | undefined): void {
  for (const name of Object.keys(value ?? {})) assert.ok(name in fields[what], `unknown field ${name}`)
}

/** Searches the folders above the bundle of this test and above the working directory. */
function find(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const file = join(folder, 'testdata/ladder.json')
    if (existsSync(file)) return file
    assert.notEqual(folder, dirname(folder), 'there is no testdata/ladder.json above the test')
  }
}

const file: { transitions: Record<'both' | 'go' | 'ts', string[]>, scenarios: Scenario[] } = JSON.parse(readFileSync(find(), 'utf8'))
const happened = new Set<string>()

test('the file has no unknown fields', () => {
  strict('file', file)
  for (const s of file.scenarios) {
    assert.ok(s.name && s.why && s.steps.length, `${s.name} needs a name, a why and steps`)
    assert.ok([undefined, 'go', 'ts'].includes(s.only), `${s.name} is for ${s.only}`)
    strict('scenario', s)
    strict('settings', s.settings)
    strict('remembered', s.settings?.known)
    for (const step of s.steps) {
      strict('step', step)
      strict('then', step.then)
      strict('remembered', step.then.saved)
    }
  }
})

for (const scenario of file.scenarios) {
  if (scenario.only === 'go') continue
  test(`ladder: ${scenario.name}`, () => {
    const run = new Run(scenario)
    for (const [i, step] of scenario.steps.entries()) {
      const before = run.state
      try {
        run.happens(step)
        run.check(step)
      } catch (error) {
        assert.fail(`step ${i + 1}, ${step.event}: ${(error as Error).message} (${scenario.why})`)
      }
      happened.add(step.event).add(run.state)
      if (before !== run.state) happened.add(`${before} -> ${run.state}`)
    }
  })
}

test('every event and state of the ladder occurs in a scenario', () => {
  const all = [...Object.keys(calls), ...Object.values(endings), ...Object.values(states)]
  assert.deepEqual(all.filter((name) => !happened.has(name)), [])
})

test('every transition is listed in the file and occurs in a scenario', () => {
  const { both, ts } = file.transitions
  assert.deepEqual([...happened].filter((name) => name.includes(' -> ')).sort(), [...both, ...ts].sort())
})
