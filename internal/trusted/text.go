// Package trusted marks text that was checked before it was stored. Only this module can
// import it, so nobody else can make a name without a check.
package trusted

import "github.com/jackc/pgx/v5/pgtype"

// Text is a text as the database holds it. NULL is the empty one.
type Text struct{ s string }

// Of returns s as a Text; the caller knows that s was checked.
func Of(s string) Text { return Text{s} }

// String returns the name.
func (t Text) String() string { return t.s }

// ScanText lets pgx read a column into it.
func (t *Text) ScanText(v pgtype.Text) error {
	t.s = v.String
	return nil
}
