package wire

import (
	"strconv"
	"time"
)

// Kind is one type of problem (RFC 9457): a program may decide by it. GET /problems/{slug} answers with Text.
type Kind struct {
	Slug   string
	Status int
	Title  string
	Retry  int // seconds for Retry-After, before jitter
	Text   string
}

// The exported kinds of problems are made by other packages too. FaultOf makes the others
// from errors of the queue.
var (
	Malformed = &Kind{"malformed", 400, "Malformed request", 0,
		"The body is not the JSON it should be: bad syntax, something after the value, a duplicate field or an unknown one. Unknown fields are refused because a misspelled \"room\" would otherwise reach everyone."}
	Incomplete = &Kind{"incomplete-body", 400, "Body is incomplete", 0,
		"The body ended early, or its chunked encoding is invalid. In an NDJSON upload, all lines before the one named were answered; send that line and all after it again."}
	BadParameter = &Kind{"bad-parameter", 400, "Bad parameter", 0,
		"A query parameter, header or cursor cannot be read, is missing or is given twice; \"field\" names it."}
	tooDeep = &Kind{"too-deep", 400, "Nested too deep", 0,
		"Data may nest arrays and objects 64 deep."}
	Unauthorized = &Kind{"unauthorized", 401, "Missing or bad credentials", 0,
		"Send \"Authorization: Bearer T\" (or ?access_token=T) where T is an API key or a JWT that is signed with a key this server trusts, has a \"sub\", has not expired and, where that is configured, names this server in \"aud\" and its issuer in \"iss\"."}
	NotYetValid = &Kind{"token-not-yet-valid", 401, "Token is not valid yet", 0,
		"The signature is good, but the token's \"nbf\" or \"iat\" is further in the future than this server forgives: its clock and the issuer's differ, or the token is for later. Try again with the same token after Retry-After seconds."}
	Forbidden = &Kind{"forbidden", 403, "Not allowed", 0,
		"The token is valid but does not grant this: its \"rooms\" patterns say what it may read, its \"emit\" patterns where it may emit."}
	NotFound = &Kind{"not-found", 404, "Not found", 0,
		"There is nothing here, or nothing that these credentials may know of."}
	MethodNotAllowed = &Kind{"method-not-allowed", 405, "Method not allowed", 0,
		"This address takes other methods; the Allow header lists them."}
	TimedOut = &Kind{"request-timeout", 408, "Request took too long to arrive", 0,
		"The body stopped arriving. Whatever was answered before is stored; send the rest again."}
	beyondHead = &Kind{"cursor-beyond-head", 409, "Cursor is beyond the head", 0,
		"The cursor is beyond the end of this log: the log has never reached that position, or lost it when its database was restored. Receive with this cursor: the answer says where to continue."}
	otherLog = &Kind{"cursor-of-another-log", 409, "Cursor belongs to another log", 0,
		"The log was replaced (by a new database or a restore) since this cursor was given out. Receive with it: the answer begins with the gap and has cursors of the new log."}
	keyReused = &Kind{"key-reused", 409, "Idempotency key reused", 0,
		"The idempotency key was used for an event with other content. A repeat must be the same event; another event needs another key."}
	replyClosed = &Kind{"reply-closed", 410, "Replies are closed", 0,
		"The time for replies to this event has passed, or it has as many replies as it asked for."}
	TooLarge = &Kind{"too-large", 413, "Too large", 0,
		"A body may have at most 1 MiB (NDJSON: any length, but 320 KiB a line), an event's data at most 256 KiB."}
	Unsupported = &Kind{"unsupported-media-type", 415, "Unsupported media type", 0,
		"Send application/json (or application/x-ndjson to emit) in UTF-8 and without Content-Encoding."}
	Invalid = &Kind{"invalid", 422, "Invalid request", 0,
		"The request is well-formed but \"field\" holds something that cannot be accepted: a wrong type, a control character, invalid UTF-8, a reserved name, a length over its limit."}
	tooManyRooms = &Kind{"too-many-rooms", 422, "Too many rooms", 0,
		"The client is in as many rooms as a client may be: leave one first. A room that it left still counts against ten times that limit, until retention has dropped the events from when it was in it."}
	roomQuota = &Kind{"room-quota", 409, "Too many rooms made", 0,
		"The room does not exist yet, and either the client has made as many rooms as it may, or the namespace has as many as it may. Use rooms that exist."}
	RateLimited = &Kind{"rate-limited", 429, "Too many events or requests", 1,
		"The client or its namespace exceeded its rate limit. Nothing was stored; try again after Retry-After seconds, when there is room for this request. A batch counts as the number of its events."}
	TooManyConnections = &Kind{"too-many-connections", 429, "Too many connections", 5,
		"The client or its namespace has too many streams, long polls, waiting emits and NDJSON uploads open on this instance. Close one, or try again after Retry-After seconds."}
	TooManyRequests = &Kind{"too-many-requests", 429, "Too many requests under way", 1,
		"The client, the API key or the namespace has too many requests, or too many bytes in requests, under way on this instance. Nothing was done; read the answers that have arrived, and try again after Retry-After seconds."}
	Internal = &Kind{"internal", 500, "Internal error", 0,
		"Something unexpected went wrong. The server's log says what, under the request id of the answer."}
	Overloaded = &Kind{"overloaded", 503, "Overloaded", 1,
		"Too many emits are waiting for Postgres, or this instance has too many requests, or too many bytes in requests, under way. Nothing was stored; try again after Retry-After seconds."}
	Unavailable = &Kind{"unavailable", 503, "Postgres is unavailable", 2,
		"Postgres cannot be reached or cannot write. An emit may or may not have been stored: repeat it with an idempotency key. Try again after Retry-After seconds."}
	KeysUnavailable = &Kind{"keys-unavailable", 503, "Keys of tokens are unavailable", 5,
		"The server has not been able to fetch the keys that verify tokens since it started, so it cannot tell good tokens from bad ones. Try again after Retry-After seconds."}
	Draining = &Kind{"draining", 503, "Shutting down", 1,
		"This instance is shutting down. Nothing was stored; try again, and another instance will answer."}
)

// Kinds lists every problem this server answers with.
var Kinds = []*Kind{
	Malformed, Incomplete, BadParameter, tooDeep, Unauthorized, NotYetValid, Forbidden, NotFound, MethodNotAllowed,
	TimedOut, beyondHead, otherLog, keyReused, replyClosed, TooLarge, Unsupported, Invalid, tooManyRooms, roomQuota,
	RateLimited, TooManyConnections, TooManyRequests, Internal, Overloaded, Unavailable, KeysUnavailable, Draining,
}

// Problem is one answer of a Kind. Handlers return it as an error.
type Problem struct {
	*Kind
	Field  string        // the field that is wrong, as the client names it; "": the request as a whole
	Detail string        // for people
	After  time.Duration // for Retry-After, if it is known exactly; 0: use the Kind's
}

// Refuse makes a problem. field is the field that is wrong, "" for the request as a whole. detail says to a
// person what to do; the client sees it.
func Refuse(k *Kind, field, detail string) *Problem {
	return &Problem{Kind: k, Field: field, Detail: detail}
}

// Error implements error.
func (p *Problem) Error() string { return p.Slug + ": " + p.Detail }

// AppendJSON adds the problem as a JSON object to b. line is the line number in an NDJSON upload, 0 for other
// requests.
func (p *Problem) AppendJSON(b []byte, line int) []byte {
	b = append(b, `{"type":"/problems/`...)
	b = append(b, p.Slug...)
	b = append(b, `","title":`...)
	b = AppendString(b, p.Title)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(p.Status), 10)
	b = append(b, `,"detail":`...)
	b = AppendString(b, p.Detail)
	if p.Field != "" {
		b = append(b, `,"field":`...)
		b = AppendString(b, p.Field)
	}
	if line > 0 {
		b = append(b, `,"line":`...)
		b = strconv.AppendInt(b, int64(line), 10)
	}
	return append(b, '}')
}
